import { open } from 'node:fs/promises'
import { UsageError } from '../base/errors.ts'
import { decompress, readImage } from './unpack.ts'

/** Boot protocol: `HdrS` at 0x202, version string at [0x20e] + 0x200. */
const MAGIC_OFFSET = 0x202
const VERSION_POINTER = 0x20e
const HEADER_SIZE = 32 * 1024
const MAX_VERSION = 512

/**
 * What a bzImage says it is: `6.12.117 (who@where) #1 SMP ...`
 * (arch/x86/boot/version.c; Documentation/arch/x86/boot.rst).
 */
export const bzImageVersion = async (
  path: string,
): Promise<string | undefined> => {
  const file = await open(path)
  try {
    const { buffer, bytesRead } = await file.read(
      Buffer.alloc(HEADER_SIZE),
      0,
      HEADER_SIZE,
      0,
    )
    const header = buffer.subarray(0, bytesRead)
    if (
      header.length < HEADER_END ||
      header.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + 4) !== 'HdrS'
    )
      return undefined
    const at = header.readUInt16LE(VERSION_POINTER) + 0x200
    const text = header.toString('latin1', at, at + MAX_VERSION)
    return text.slice(0, text.indexOf('\0'))
  } finally {
    await file.close()
  }
}

/** struct setup_header (arch/x86/include/uapi/asm/bootparam.h). */
const SETUP_SECTORS = 0x1f1
const PROTOCOL = 0x206
const PAYLOAD_OFFSET = 0x248
const PAYLOAD_LENGTH = 0x24c
const HEADER_END = 0x250
/** The first protocol that tells where the payload is: 2.08, Linux 2.6.26. */
const FIRST_WITH_PAYLOAD = 0x208
const SECTOR = 512

/**
 * How the payload begins (arch/x86/boot/compressed/Makefile), and whether the
 * build wrote its size behind it (size_append in scripts/Makefile.lib).
 */
const COMPRESSIONS: readonly {
  readonly name: string
  readonly magic: Buffer
  readonly sizeBehind: boolean
}[] = [
  { name: 'gzip', magic: Buffer.of(0x1f, 0x8b), sizeBehind: false },
  { name: 'bzip2', magic: Buffer.from('BZh'), sizeBehind: true },
  { name: 'lzma', magic: Buffer.of(0x5d, 0, 0), sizeBehind: true },
  { name: 'xz', magic: Buffer.from('\xfd7zXZ\0', 'latin1'), sizeBehind: true },
  { name: 'lzo', magic: Buffer.from('\x89LZO', 'latin1'), sizeBehind: true },
  { name: 'lz4', magic: Buffer.of(2, 0x21, 0x4c, 0x18), sizeBehind: true },
  { name: 'zstd', magic: Buffer.of(0x28, 0xb5, 0x2f, 0xfd), sizeBehind: true },
]

const SIZE = 4

/**
 * The ELF image that a bzImage unpacks when it boots.
 *
 * @throws UsageError when the file is no whole bzImage
 * @throws InfraError when it cannot be unpacked here
 */
export const unpackBzImage = async (
  path: string,
  signal?: AbortSignal,
): Promise<Buffer> => {
  const { name, bytes, size } = payloadOf(await readImage(path), path)
  const image = await decompress(bytes, `${path} (${name})`, signal)
  if (size !== undefined && size !== image.length)
    throw new UsageError(
      'KERNEL_IMAGE',
      `the kernel in ${path} is damaged: expected ${size} bytes in its payload (${name}), found ${image.length}`,
    )
  return image
}

interface Payload {
  /** Of its compression. */
  readonly name: string
  readonly bytes: Buffer
  /** Of what it unpacks to; undefined: the compression says it itself. */
  readonly size: number | undefined
}

const payloadOf = (file: Buffer, path: string): Payload => {
  const refuse = (found: string): UsageError =>
    new UsageError(
      'KERNEL_IMAGE',
      `expected a bzImage (vmlinuz) for x86-64 at ${path}, found ${found}`,
    )
  if (
    file.length < HEADER_END ||
    file.toString('latin1', MAGIC_OFFSET, MAGIC_OFFSET + 4) !== 'HdrS'
  )
    throw refuse('no boot header')
  if (file.readUInt16LE(PROTOCOL) < FIRST_WITH_PAYLOAD)
    throw refuse('one of a boot protocol before 2.08')
  // "If 0, the real value is 4": Documentation/arch/x86/boot.rst.
  const sectors = file[SETUP_SECTORS]! || 4
  const start = (sectors + 1) * SECTOR + file.readUInt32LE(PAYLOAD_OFFSET)
  const end = start + file.readUInt32LE(PAYLOAD_LENGTH)
  if (end > file.length)
    throw refuse(`a truncated one: ${file.length} bytes of ${end}`)
  const payload = file.subarray(start, end)
  const compression = COMPRESSIONS.find(({ magic }) =>
    payload.subarray(0, magic.length).equals(magic),
  )
  if (!compression)
    throw refuse(
      `a payload of an unknown compression (it begins with ${payload.toString('hex', 0, 4)})`,
    )
  const { name, sizeBehind } = compression
  if (!sizeBehind) return { name, bytes: payload, size: undefined }
  const at = payload.length - SIZE
  if (at < 0) throw refuse('a payload of a few bytes')
  return {
    name,
    bytes: payload.subarray(0, at),
    size: payload.readUInt32LE(at),
  }
}

/** Release and build of a bzImage are those of a kernel's banner. */
export const isSameBuild = (
  banner: string,
  version: string | undefined,
): boolean => {
  const match = /^(\S+) \(.*?\) (#.*)$/.exec(version ?? '')
  return (
    match !== null &&
    banner.startsWith(`Linux version ${match[1]!} `) &&
    banner.endsWith(` ${match[2]!}`)
  )
}
