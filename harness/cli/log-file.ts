import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { RigError, UsageError, messageOf, systemCode } from '../base/errors.ts'
import { type Bytes, unpacked } from '../base/packed.ts'
import { KIB } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'
import { startMap } from '../judge/log-map.ts'
import { SHOWN_LOG } from '../report/explain-boot.ts'

/** Files are scenarios or logs; folders hold scenarios. */
export const isLog = async (path: string): Promise<boolean> => {
  if (path === '-') return true
  if (/\.ya?ml$/i.test(path)) return false
  const info = await stat(path).catch(() => undefined)
  return info !== undefined && !info.isDirectory()
}

/** What was read from a log. */
export interface Log {
  /** As it was named: a path, or `-`. */
  readonly file: string
  /** One for each boot in it; at least one. */
  readonly boots: readonly Facts[]
  readonly lines: number
  /** Boots at the beginning that were let go: there were too many. */
  readonly forgotten: number
  /** What was judged, where the log is of a bundle. */
  readonly verdict: readonly string[]
  /** All of it; null: it is too long to be shown. */
  readonly text: string | null
}

/**
 * Reads a kernel's log, `-` for standard input. It may be compressed, or be in
 * the archive of a failed case.
 *
 * @throws UsageError
 */
export const readLog = async (path: string): Promise<Log> => {
  const { reader, verdict, text } = await readAny(path).catch(
    (error: unknown) => {
      // A defect of tdxrig is not the file's fault.
      if (error instanceof RigError || systemCode(error) === undefined)
        throw error
      throw new UsageError('LOG', `cannot read ${path}: ${messageOf(error)}`)
    },
  )
  return {
    file: path,
    boots: reader.boots(),
    lines: reader.lineCount,
    forgotten: reader.forgotten,
    verdict,
    text,
  }
}

const readAny = async (
  path: string,
): Promise<{
  reader: ConsoleReader
  verdict: readonly string[]
  text: string | null
}> => {
  const { archive, bytes } = await unpacked(
    path === '-'
      ? process.stdin
      : createReadStream(path, { highWaterMark: 1024 * KIB }),
  )
  if (!archive) return { ...(await readLines(bytes)), verdict: [] }
  const { readBundle } = await import('../run/rejudge.ts')
  const { console, verdict } = await readBundle(path, bytes)
  if (console) return { reader: console, verdict, text: null }
  throw new UsageError('BUNDLE', `${path}: there is no console in the archive`)
}

const readLines = async (
  source: Bytes,
): Promise<{ reader: ConsoleReader; text: string | null }> => {
  const reader = new ConsoleReader({ pasted: true })
  const kept: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of source) {
    reader.push(chunk)
    bytes += chunk.length
    if (bytes <= SHOWN_LOG) kept.push(chunk)
  }
  reader.end()
  return {
    reader,
    text: bytes <= SHOWN_LOG ? Buffer.concat(kept).toString('utf8') : null,
  }
}

/** The boot of a log that is meant. @throws UsageError */
export const chosenBoot = (
  log: Log,
  asked: number | undefined,
): { readonly facts: Facts; readonly number: number } => {
  const { boots, forgotten, file } = log
  const index = asked === undefined ? likelyBoot(boots) : asked - forgotten - 1
  const facts = boots[index]
  if (!facts)
    throw new UsageError(
      'BOOT',
      `${file}: expected --boot from ${forgotten + 1} to ${forgotten + boots.length}, found ${asked ?? 0}`,
    )
  return { facts, number: forgotten + index + 1 }
}

/** The last one that shows its memory, or the last. */
const likelyBoot = (boots: readonly Facts[]): number => {
  const shown = boots.findLastIndex(facts => startMap(facts) !== undefined)
  return shown < 0 ? boots.length - 1 : shown
}
