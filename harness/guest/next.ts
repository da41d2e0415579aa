import { MODE, writeCpio } from './cpio.ts'
import { FILES } from './protocol.ts'

/** What init starts with a kexec step. */
export interface NextFiles {
  /** A bzImage: kexec_file_load() takes nothing else on x86. */
  readonly kernel: Uint8Array
  readonly initramfs: Uint8Array
  readonly cmdline: string
}

/**
 * An archive that goes behind an initramfs: the kernel unpacks one after the
 * other (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
export const nextArchive = ({
  kernel,
  initramfs,
  cmdline,
}: NextFiles): Uint8Array =>
  writeCpio([
    { name: 'next', mode: MODE.DIRECTORY | 0o755 },
    file(FILES.nextKernel, kernel),
    file(FILES.nextInitramfs, initramfs),
    file(FILES.nextCmdline, Buffer.from(cmdline)),
  ])

const file = (
  path: string,
  data: Uint8Array,
): Parameters<typeof writeCpio>[0][number] => ({
  // Archives have no leading slash.
  name: path.slice(1),
  mode: MODE.FILE | 0o644,
  data,
})
