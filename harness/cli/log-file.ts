import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { UsageError, messageOf } from '../base/errors.ts'
import { KIB } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { ConsoleReader } from '../console/reader.ts'

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
}

/** Reads a kernel's log, `-` for standard input. @throws UsageError */
export const readLog = async (path: string): Promise<Log> => {
  const reader = new ConsoleReader()
  const stream =
    path === '-'
      ? process.stdin
      : createReadStream(path, { highWaterMark: 1024 * KIB })
  try {
    for await (const chunk of stream) reader.push(chunk as Buffer)
  } catch (error) {
    throw new UsageError('LOG', `cannot read ${path}: ${messageOf(error)}`)
  }
  reader.end()
  return {
    ...{ file: path, boots: reader.boots(), lines: reader.lineCount },
    forgotten: reader.forgotten,
  }
}

/** How a boot of a log is named, where there are several. */
export const bootName = ({ file, boots, forgotten }: Log, i: number): string =>
  boots.length + forgotten > 1 ? `${file} (boot ${forgotten + i + 1})` : file

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
  const shown = boots.findLastIndex(({ firmwareMap }) => firmwareMap.length > 1)
  return shown < 0 ? boots.length - 1 : shown
}
