import type { Facts } from '../console/facts.ts'
import type { ConsoleReader } from '../console/reader.ts'

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
  /** It was put together of what was collected of a machine. */
  readonly isCollection: boolean
  /** What was not read of it, and what is doubtful, each a sentence. */
  readonly complaints: readonly string[]
  /** All of it; null: it is too long to be shown. */
  readonly text: string | null
}

export const logOf = (file: string, reader: ConsoleReader): Log => ({
  file,
  boots: reader.boots(),
  lines: reader.lineCount,
  forgotten: reader.forgotten,
  verdict: [],
  isCollection: false,
  complaints: [],
  text: null,
})
