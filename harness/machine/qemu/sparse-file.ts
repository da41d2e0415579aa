import { execa } from 'execa'
import { endsWithUs } from '../../base/ends-with-us.ts'
import { InfraError } from '../../base/errors.ts'
import type { Range } from '../../memory/range.ts'

const BLOCK = 512
/** Of a header: where its size, its type and its end stand. */
const SIZE = { start: 124, end: 136 } as const
const TYPE = 156
const PAX = 'x'.charCodeAt(0)
/** The map of a guest's memory has some thousand lines. */
const LONGEST_MAP = 16 * 1024 * 1024

/**
 * Which parts of a file are on the disk, or in memory: the rest are holes, and
 * zero. Node.js has no lseek(); GNU tar has, and says first what it found.
 *
 * @returns ranges of bytes, ascending
 * @throws InfraError when tar fails, or is another tar
 */
export const dataRanges = async (
  { path, size }: { readonly path: string; readonly size: number },
  signal: AbortSignal,
): Promise<Range[]> => {
  const argv = [
    'tar',
    '--create',
    '--dereference',
    '--sparse',
    '--format=posix',
    '--sparse-version=1.0',
    '--file=-',
    '--',
    path,
  ]
  const tar = execa('setpriv', endsWithUs(argv), {
    reject: false,
    stdin: 'ignore',
    buffer: { stdout: false },
    cancelSignal: signal,
    env: { LC_ALL: 'C', TAR_OPTIONS: '' },
  })
  let read = Buffer.alloc(0)
  for await (const chunk of tar.iterable({ binary: true })) {
    read = Buffer.concat([read, chunk])
    const ranges = sparseMap(read, size)
    if (ranges === 'broken' || read.length > LONGEST_MAP) break
    if (ranges === 'cut off') continue
    tar.kill('SIGKILL')
    return ranges
  }
  tar.kill('SIGKILL')
  const { stderr } = await tar
  throw new InfraError(
    'SNAPSHOT',
    `expected GNU tar to say which parts of ${path} are used, it did not: ${stderr || 'it said nothing'}`,
  )
}

/**
 * What an archive says of its first file: a header with pax records, the file's
 * own header, and for a sparse file the number of its parts and their offsets
 * and sizes, a line for each (PAX Format, Version 1.0, in the manual of GNU tar).
 *
 * @param size of the file, in bytes
 */
export const sparseMap = (
  archive: Buffer,
  size: number,
): Range[] | 'cut off' | 'broken' => {
  let at = 0
  let records = ''
  if (archive.length < BLOCK) return 'cut off'
  // Zeros end an archive: tar has found no file.
  if (archive[0] === 0) return 'broken'
  if (archive[TYPE] === PAX) {
    const length = octal(archive.subarray(SIZE.start, SIZE.end))
    at = BLOCK + Math.ceil(length / BLOCK) * BLOCK
    records = archive.toString('latin1', BLOCK, BLOCK + length)
  }
  if (archive.length < at + BLOCK) return 'cut off'
  // It has no hole.
  if (!records.includes('GNU.sparse.major=1\n'))
    return [{ start: 0, end: size }]
  const lines = archive.toString('latin1', at + BLOCK).split('\n')
  // The last line of what is there may not be whole.
  if (lines.length < 2) return 'cut off'
  const [count = NaN, ...numbers] = lines.slice(0, -1).map(Number)
  if (!Number.isInteger(count) || count < 0) return 'broken'
  if (numbers.length < 2 * count) return 'cut off'
  const ranges = Array.from({ length: count }, (_, i) => {
    const start = numbers[2 * i]!
    return { start, end: start + numbers[2 * i + 1]! }
  })
  const isWithin = ({ start, end }: Range): boolean =>
    Number.isInteger(start) && start <= end && end <= size
  if (!ranges.every(isWithin)) return 'broken'
  return ranges.filter(({ start, end }) => start < end)
}

const octal = (field: Buffer): number =>
  Number.parseInt(field.toString('latin1'), 8)
