import { readFile } from 'node:fs/promises'
import type { BuiltKernel } from '../kernel/cache.ts'
import { MODE, writeCpio } from './cpio.ts'

/**
 * The initramfs of a boot: our init, the trigger module it loads, and the two
 * device nodes it and the kernel open.
 */
export const buildInitramfs = async (
  kernel: Pick<BuiltKernel, 'init' | 'trigger'>,
): Promise<Uint8Array> =>
  writeCpio([
    { name: 'dev', mode: MODE.DIRECTORY | 0o755 },
    {
      name: 'dev/console',
      mode: MODE.CHARACTER_DEVICE | 0o600,
      device: { major: 5, minor: 1 },
    },
    {
      name: 'dev/kmsg',
      mode: MODE.CHARACTER_DEVICE | 0o600,
      device: { major: 1, minor: 11 },
    },
    {
      name: 'init',
      mode: MODE.FILE | 0o755,
      data: await readFile(kernel.init),
    },
    {
      name: 'tdxrig_trigger.ko',
      mode: MODE.FILE | 0o644,
      data: await readFile(kernel.trigger),
    },
  ])
