import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Readable, Transform } from 'node:stream'
import type { ReadableStream as NodeStream } from 'node:stream/web'
import { pipeline } from 'node:stream/promises'
import { InfraError, UsageError, messageOf } from '../base/errors.ts'

/** A file as a signed list describes it. */
export interface OfferedFile {
  /** http or https. */
  readonly url: string
  /** Bytes. */
  readonly size: number
  /** In hex. */
  readonly sha256: string
}

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds without a byte after which it is given up. */
  readonly patience?: number
}

/** A mirror that sends nothing for so long is gone. */
const PATIENCE = 60_000

/**
 * Downloads a file. What was received before a connection broke is kept as
 * `path.partial`, and the next call goes on behind it.
 *
 * @param path appears as a whole, and only with the bytes that were offered
 * @throws UsageError when the file is another one: then nothing is kept
 * @throws InfraError when the download broke off
 */
export const downloadFile = async (
  offered: OfferedFile,
  path: string,
  options: DownloadOptions = {},
): Promise<void> => {
  const partial = `${path}.partial`
  const have = await sizeOf(partial)
  if (have < offered.size) await receive(offered, partial, { have, ...options })
  if (
    (await sizeOf(partial)) !== offered.size ||
    (await sha256Of(partial)) !== offered.sha256
  ) {
    await rm(partial, { force: true })
    throw new UsageError(
      'SIGNATURE',
      `expected ${offered.url} as its signed list has it (${offered.size} bytes, SHA-256 ${offered.sha256}), found another file: it was thrown away; try again, or use another mirror`,
    )
  }
  await rename(partial, path)
}

const sizeOf = async (path: string): Promise<number> =>
  (await stat(path).catch(() => undefined))?.size ?? 0

const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

const receive = async (
  { url, size }: OfferedFile,
  partial: string,
  {
    have,
    signal,
    patience = PATIENCE,
  }: DownloadOptions & { readonly have: number },
): Promise<void> => {
  const silence = new AbortController()
  const timer = setTimeout(() => {
    silence.abort(new Error(`nothing was received for ${patience / 1000} s`))
  }, patience)
  const signals = [silence.signal, ...(signal ? [signal] : [])]
  try {
    const response = await fetch(url, {
      headers: have > 0 ? { range: `bytes=${have}-` } : {},
      signal: AbortSignal.any(signals),
    })
    if (!response.ok || !response.body)
      throw new Error(`the mirror answered ${response.status}`)
    // One that does not know ranges sends all of it.
    const goesOn = response.status === 206
    let received = goesOn ? have : 0
    const counter = new Transform({
      transform(chunk: Buffer, _, done) {
        timer.refresh()
        received += chunk.length
        // More than was offered is another file: it is not read to its end.
        done(received > size ? new TooLong() : null, chunk)
      },
    })
    await pipeline(
      // The DOM's types of streams, which JSX brings along, are not Node's.
      Readable.fromWeb(response.body as NodeStream),
      counter,
      createWriteStream(partial, { flags: goesOn ? 'a' : 'w' }),
    )
  } catch (error) {
    if (signal?.aborted)
      throw new InfraError('INTERRUPTED', 'interrupted while: download')
    if (error instanceof TooLong) {
      await rm(partial, { force: true })
      return
    }
    const cause = silence.signal.aborted
      ? messageOf(silence.signal.reason)
      : reasonOf(error)
    throw new InfraError(
      'NO_SOURCE',
      `cannot fetch ${url}: ${cause}; ${await sizeOf(partial)} of ${size} bytes are kept: try again, and it goes on there`,
    )
  } finally {
    clearTimeout(timer)
  }
}

class TooLong extends Error {}

/** fetch() says `fetch failed`, and why in the cause. */
const reasonOf = (error: unknown): string =>
  error instanceof Error && error.cause instanceof Error
    ? error.cause.message
    : messageOf(error)
