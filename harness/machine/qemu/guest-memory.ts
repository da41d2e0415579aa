import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { type Range, union } from '../../memory/range.ts'
import { PAGE_SIZE, type Page } from './migration-stream.ts'

/** A file that has a piece of a guest's memory. */
export interface MemoryFile {
  /** Of the piece. */
  readonly id: string
  readonly path: string
  /** In bytes. */
  readonly size: number
  /** Where something is in it; the rest is zero. */
  readonly used: readonly Range[]
}

/** What is read at a time; pages do not cross its borders. */
const CHUNK = 1024 * 1024
/** Pages that decide which memory is the most alike. */
const SAMPLES = 64

const RANGES = 'ranges.json'
const rangesSchema = z.array(
  z.array(
    z
      .strictObject({ start: z.int().nonnegative(), end: z.int() })
      .refine(({ start, end }) => start < end),
  ),
)

/** Bytes of the memory that is used. */
export const usedBytes = (files: readonly MemoryFile[]): number =>
  files
    .flatMap(({ used }) => used)
    .reduce((sum, { start, end }) => sum + end - start, 0)

/**
 * Writes memory into a folder that is made, with holes where it is zero: a
 * kernel clears much that it never uses.
 */
export const copyMemory = async (
  files: readonly MemoryFile[],
  folder: string,
  signal: AbortSignal,
): Promise<void> => {
  await mkdir(folder)
  const buffer = Buffer.alloc(CHUNK)
  const ranges: Range[][] = []
  for (const { id, path, size, used } of files) {
    await using from = await open(path)
    await using to = await open(join(folder, id), 'wx')
    await to.truncate(size)
    const written: Range[] = []
    for (const chunk of chunks(used)) {
      signal.throwIfAborted()
      const bytes = await readInto(buffer, from, chunk)
      for (const { start, end } of pagesThat(bytes, page => !isZero(page))) {
        await writeAll(to, bytes.subarray(start, end), chunk.start + start)
        written.push({ start: chunk.start + start, end: chunk.start + end })
      }
    }
    ranges.push(union(written))
  }
  await writeFile(join(folder, RANGES), JSON.stringify(ranges))
}

/** @throws what write(2) says when there is no room */
const writeAll = async (
  file: FileHandle,
  bytes: Buffer,
  position: number,
): Promise<void> => {
  for (let at = 0; at < bytes.length;) {
    const rest = bytes.length - at
    const { bytesWritten } = await file.write(bytes, at, rest, position + at)
    at += bytesWritten
  }
}

/** Runs of pages in a chunk, as offsets. */
const pagesThat = (
  chunk: Buffer,
  wanted: (page: Buffer, offset: number) => boolean,
): Range[] => {
  const found: Range[] = []
  for (let start = 0; start < chunk.length; start += PAGE_SIZE) {
    const end = start + PAGE_SIZE
    if (wanted(chunk.subarray(start, end), start)) found.push({ start, end })
  }
  return union(found)
}

/** @returns undefined where the folder is none, or of another machine */
export const memoryIn = async (
  folder: string,
  pieces: readonly Pick<MemoryFile, 'id' | 'size'>[],
): Promise<MemoryFile[] | undefined> => {
  try {
    const text = await readFile(join(folder, RANGES), 'utf8')
    const ranges = rangesSchema.parse(JSON.parse(text))
    if (ranges.length !== pieces.length) return undefined
    return pieces.map(({ id, size }, i) => ({
      id,
      size,
      path: join(folder, id),
      used: ranges[i]!,
    }))
  } catch {
    return undefined
  }
}

/**
 * Pages of a memory that differ from those of another one of its size.
 *
 * @param most bytes that they may have @returns undefined: they have more
 */
export const differences = async (
  mine: readonly MemoryFile[],
  others: readonly MemoryFile[],
  { most, signal }: { readonly most: number; readonly signal: AbortSignal },
): Promise<Page[] | undefined> => {
  const pages: Page[] = []
  const [first, second] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)]
  for (const [i, { id, path, used }] of mine.entries()) {
    const other = others[i]!
    await using my = await open(path)
    await using their = await open(other.path)
    for (const chunk of chunks(union([...used, ...other.used]))) {
      signal.throwIfAborted()
      const [a, b] = await Promise.all([
        readInto(first, my, chunk),
        readInto(second, their, chunk),
      ])
      if (a.equals(b)) continue
      for (let at = 0; at < a.length; at += PAGE_SIZE) {
        const page = a.subarray(at, at + PAGE_SIZE)
        if (page.equals(b.subarray(at, at + PAGE_SIZE))) continue
        const content = isZero(page) ? undefined : Buffer.from(page)
        pages.push({ block: id, offset: chunk.start + at, content })
      }
      if (pages.length * PAGE_SIZE > most) return undefined
    }
  }
  return pages
}

const ZERO = Buffer.alloc(PAGE_SIZE)
const isZero = (page: Buffer): boolean => page.equals(ZERO)

/** @returns which part of some pages of a memory another one has, too */
export const likeness = async (
  mine: readonly MemoryFile[],
  others: readonly MemoryFile[],
): Promise<number> => {
  let looked = 0
  let same = 0
  const [first, second] = [Buffer.alloc(PAGE_SIZE), Buffer.alloc(PAGE_SIZE)]
  for (const [i, { path, used }] of mine.entries()) {
    await using my = await open(path)
    await using their = await open(others[i]!.path)
    for (const start of samples(used)) {
      const page = { start, end: start + PAGE_SIZE }
      const [a, b] = await Promise.all([
        readInto(first, my, page),
        readInto(second, their, page),
      ])
      // Zero is the same everywhere.
      if (isZero(a)) continue
      looked++
      if (a.equals(b)) same++
    }
  }
  return looked === 0 ? 0 : same / looked
}

/** Offsets of pages, spread over what is used. */
const samples = (used: readonly Range[]): number[] => {
  const pages = chunks(used).map(({ start }) => start)
  const step = Math.max(1, Math.ceil(pages.length / SAMPLES))
  return pages.filter((_, i) => i % step === 0)
}

/** Whole pages, in pieces that are read at a time. */
const chunks = (ranges: readonly Range[]): Range[] => {
  const whole = union(
    ranges.map(({ start, end }) => ({
      start: start - (start % PAGE_SIZE),
      end: Math.ceil(end / PAGE_SIZE) * PAGE_SIZE,
    })),
  )
  return whole.flatMap(({ start, end }) =>
    Array.from({ length: Math.ceil((end - start) / CHUNK) }, (_, i) => ({
      start: start + i * CHUNK,
      end: Math.min(end, start + (i + 1) * CHUNK),
    })),
  )
}

/** @returns the beginning of the buffer; what is behind a file's end is zero */
const readInto = async (
  buffer: Buffer,
  file: FileHandle,
  { start, end }: Range,
): Promise<Buffer> => {
  const wanted = buffer.subarray(0, end - start)
  let read = 0
  while (read < wanted.length) {
    const { bytesRead } = await file.read(
      wanted,
      read,
      wanted.length - read,
      start + read,
    )
    if (bytesRead === 0) break
    read += bytesRead
  }
  return wanted.fill(0, read)
}
