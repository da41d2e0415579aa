import type { ReadEntry } from 'tar'
import type { Bytes } from './packed.ts'

/**
 * Goes through a tar archive once; nothing is written, since nobody knows who
 * made it.
 *
 * @param take reads the entry, or lets it go with `resume()`
 * @throws what the parser says of a damaged archive
 */
export const readArchive = async (
  bytes: Bytes,
  take: (entry: ReadEntry) => void,
): Promise<void> => {
  // Few inputs are archives, and it takes a while to load.
  const { Parser } = await import('tar')
  const parser = new Parser({ strict: true, onReadEntry: take })
  const ended = new Promise<void>((resolve, reject) => {
    parser.on('end', resolve)
    parser.on('error', reject)
  })
  ended.catch(() => undefined)
  const state = { over: false }
  parser.on('eof', () => {
    state.over = true
  })
  for await (const chunk of bytes) {
    parser.write(chunk)
    // Whatever follows the end of the archive is ignored.
    if (state.over) break
  }
  parser.end()
  await ended
}
