import { own } from './lines.ts'
import type { LogRecord } from './log-record.ts'

/** A kind of line: how it begins, how it goes on, and what it says. */
export interface Rule {
  /** What every such line begins with, in plain characters. */
  readonly opening: string
  /** The whole text; left out where the opening says it all. */
  readonly pattern?: RegExp
  readonly take: (match: RegExpExecArray, record: LogRecord) => void
}

const ASCII = 128

/**
 * Rules by the first character of their lines: of most lines nothing but that
 * is looked at.
 */
export class Openings<T extends { readonly opening: string }> {
  readonly #byFirst: T[][] = Array.from({ length: ASCII }, () => [])

  constructor(rows: readonly T[]) {
    for (const row of rows) this.#byFirst[row.opening.charCodeAt(0)]!.push(row)
  }

  /** The row that a text begins like. */
  of(text: string): T | undefined {
    for (const row of this.for(text))
      if (text.startsWith(row.opening)) return row
    return undefined
  }

  /** Rows that a text may be of, in their order. */
  for(text: string): readonly T[] {
    const first = text.charCodeAt(0)
    // Of an empty text it is no number.
    return first < ASCII ? this.#byFirst[first]! : NONE
  }
}

const NONE: readonly never[] = []

const ANYTHING = /^/

/** @returns whether a rule took the record; the first that matches does */
export const takeBy = (rules: Openings<Rule>, record: LogRecord): boolean => {
  for (const { opening, pattern = ANYTHING, take } of rules.for(record.text)) {
    if (!record.text.startsWith(opening)) continue
    if (!pattern.test(record.text)) continue
    const text = own(record.text)
    take(pattern.exec(text)!, { ...record, text })
    return true
  }
  return false
}
