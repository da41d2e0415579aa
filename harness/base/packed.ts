import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'

/** A stream of bytes, in pieces of any size. */
export type Bytes = AsyncIterable<Buffer>

const GZIP = [0x1f, 0x8b]
/** Where an archive says that it is one. */
const USTAR = { at: 257, text: 'ustar' }

/** What is in a stream that may be compressed, and whether it is an archive. */
export const unpacked = async (
  source: Bytes,
): Promise<{ readonly archive: boolean; readonly bytes: Bytes }> => {
  const { first, all } = await peek(source)
  if (!GZIP.every((byte, i) => first[i] === byte))
    return { archive: isArchive(first), bytes: all }
  const inflated = createGunzip()
  // An error of either ends the reading of the other.
  pipeline(all, inflated, () => undefined)
  const inner = await peek(inflated)
  return { archive: isArchive(inner.first), bytes: inner.all }
}

const isArchive = (first: Buffer): boolean =>
  first.toString('latin1', USTAR.at, USTAR.at + USTAR.text.length) ===
  USTAR.text

/** Bytes after which it is known what a stream is. */
const ENOUGH = USTAR.at + USTAR.text.length

/** The first bytes, and all of them. */
const peek = async (
  source: Bytes,
): Promise<{ readonly first: Buffer; readonly all: Bytes }> => {
  const iterator = source[Symbol.asyncIterator]()
  let first: Buffer = Buffer.alloc(0)
  while (first.length < ENOUGH) {
    const next = await iterator.next()
    if (next.done) break
    first = first.length === 0 ? next.value : Buffer.concat([first, next.value])
  }
  const all = async function* (): Bytes {
    yield first
    for (;;) {
      const next = await iterator.next()
      if (next.done) return
      yield next.value
    }
  }
  return { first, all: all() }
}
