import { spawnSync } from 'node:child_process'
import { gzipSync } from 'node:zlib'

/** Programs of the compressions, as the kernel's build calls them. */
const PROGRAMS = {
  gzip: undefined,
  zstd: undefined,
  bzip2: ['bzip2', '-9'],
  lzma: ['xz', '--format=lzma', '-9'],
  xz: ['xz', '--check=crc32', '--x86', '--lzma2=dict=1MiB'],
  lz4: ['lz4', '-l', '-9'],
} as const

export const COMPRESSIONS = Object.keys(PROGRAMS) as (keyof typeof PROGRAMS)[]

/**
 * A file that is a bzImage as far as whoever unpacks it looks.
 *
 * @returns undefined where the program for it is not installed
 */
export const bzImageOf = (
  elf: Buffer,
  compression: keyof typeof PROGRAMS,
): Buffer | undefined => {
  const payload = compressed(elf, compression)
  if (!payload) return undefined
  const setup = Buffer.alloc(2 * 512)
  setup[0x1f1] = 1
  setup.write('HdrS', 0x202, 'latin1')
  setup.writeUInt16LE(0x20f, 0x206)
  const code = Buffer.alloc(64)
  const size = Buffer.alloc(compression === 'gzip' ? 0 : 4)
  if (size.length > 0) size.writeUInt32LE(elf.length)
  setup.writeUInt32LE(code.length, 0x248)
  setup.writeUInt32LE(payload.length + size.length, 0x24c)
  return Buffer.concat([setup, code, payload, size, Buffer.alloc(100)])
}

const compressed = (
  elf: Buffer,
  compression: keyof typeof PROGRAMS,
): Buffer | undefined => {
  if (compression === 'gzip') return gzipSync(elf)
  if (compression === 'zstd') return zstdFrame(elf)
  const [program, ...args] = PROGRAMS[compression]
  const { stdout, error } = spawnSync(program, args, { input: elf })
  return error ? undefined : stdout
}

/** Largest block of a zstd frame. */
const BLOCK = 128 * 1024

/** RFC 8878: a frame of one segment whose only block is not compressed. */
const zstdFrame = (bytes: Buffer): Buffer => {
  if (bytes.length > BLOCK)
    throw new RangeError('expected bytes for one block of zstd')
  const header = Buffer.alloc(4 + 1 + 4 + 3)
  header.writeUInt32LE(0xfd2fb528)
  // A content size of four bytes, a single segment.
  header[4] = 0xa0
  header.writeUInt32LE(bytes.length, 5)
  // The last block, raw.
  header.writeUIntLE((bytes.length << 3) | 1, 9, 3)
  return Buffer.concat([header, bytes])
}
