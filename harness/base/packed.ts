import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { InfraError, UsageError, messageOf, systemCode } from './errors.ts'

/** A stream of bytes, in pieces of any size. */
export type Bytes = AsyncIterable<Buffer>

const GZIP = [0x1f, 0x8b]

/** Unpacked by tools of the system, that a stream begins with these says. */
const TOOLS: readonly {
  readonly magic: readonly number[]
  readonly tool: string
  /** Of Debian. */
  readonly package: string
}[] = [
  {
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    tool: 'xz',
    package: 'xz-utils',
  },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], tool: 'zstd', package: 'zstd' },
  { magic: [0x42, 0x5a, 0x68], tool: 'bzip2', package: 'bzip2' },
]
/** Where an archive says that it is one. */
const USTAR = { at: 257, text: 'ustar' }

/** What is in a stream that may be compressed, and whether it is an archive. */
export const unpacked = async (
  source: Bytes,
): Promise<{ readonly archive: boolean; readonly bytes: Bytes }> => {
  const { first, all } = await peek(source)
  const begins = (magic: readonly number[]): boolean =>
    magic.every((byte, i) => first[i] === byte)
  const known = TOOLS.find(({ magic }) => begins(magic))
  if (known) {
    const inner = await peek(byTool(known, all))
    return { archive: isArchive(inner.first), bytes: inner.all }
  }
  if (!begins(GZIP)) return { archive: isArchive(first), bytes: all }
  const inflated = createGunzip()
  // An error of either ends the reading of the other.
  pipeline(all, inflated, () => undefined)
  const inner = await peek(inflated)
  return { archive: isArchive(inner.first), bytes: inner.all }
}

/**
 * @throws InfraError when the tool is not there, UsageError for what it cannot
 * unpack
 */
async function* byTool(
  { tool, package: name }: (typeof TOOLS)[number],
  packed: Bytes,
): Bytes {
  // Most logs are not compressed, and it takes a while to load.
  const { execa } = await import('execa')
  const run = execa(tool, ['-dc'], {
    stdin: packed,
    buffer: false,
    reject: false,
    encoding: 'buffer',
  })
  let isWhole = false
  try {
    yield* run.stdout
    isWhole = true
  } finally {
    // Whoever has enough does not read to the end.
    if (!isWhole) run.kill()
  }
  const { failed, exitCode, signal, cause } = await run
  if (!failed) return
  if (exitCode !== undefined)
    throw new UsageError(
      'UNPACK',
      `${tool} cannot unpack this to its end: it is damaged; copy it again`,
    )
  throw new InfraError(
    'UNPACK',
    systemCode(cause) === 'ENOENT'
      ? `expected '${tool}' to unpack this, found none: apt-get install ${name}`
      : `expected '${tool}' to unpack this, found that it ${signal === undefined ? `cannot be run: ${messageOf(cause)}` : `was ended by ${signal}`}`,
  )
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
    try {
      yield first
      for (;;) {
        const next = await iterator.next()
        if (next.done) return
        yield next.value
      }
    } finally {
      // Whoever has enough ends the source as well.
      await iterator.return?.()
    }
  }
  return { first, all: all() }
}
