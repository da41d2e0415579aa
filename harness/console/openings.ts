import { literally } from './format.ts'
import { type LineInText, own } from './lines.ts'
import type { LogRecord } from './log-record.ts'

/** How a kind of line begins. */
export interface Opening {
  /** What every such line begins with, in plain characters. */
  readonly opening: string
  /** Where that says little, more of it. */
  readonly begins?: RegExp
}

/** A kind of line: how it begins, how it goes on, and what it says. */
export interface Rule extends Opening {
  /** The whole text; left out where the opening says it all. */
  readonly pattern?: RegExp
  readonly take: (match: RegExpExecArray, record: LogRecord) => void
  /**
   * Nothing that it takes stays a part of the text, which need not be a text of
   * its own then. Default: something does.
   */
  readonly copies?: boolean
}

const ASCII = 128

/**
 * Rules by the first character of their lines: of most lines nothing but that
 * is looked at.
 */
export class Openings<T extends Opening> {
  readonly rows: readonly T[]
  readonly #byFirst: T[][] = Array.from({ length: ASCII }, () => [])

  constructor(rows: readonly T[]) {
    this.rows = rows
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

/** Whether anybody waits for lines that begin like this. */
export class Told {
  readonly #byFirst: (RegExp | undefined)[]
  /** By the first two characters, whether there are such lines at all. */
  readonly #pairs = new Uint8Array(ASCII * ASCII)

  constructor(tables: readonly Openings<Opening>[]) {
    const rows = tables.flatMap(table => table.rows)
    this.#byFirst = Array.from({ length: ASCII }, (_, first) => {
      const beginnings = rows
        .filter(({ opening }) => opening.charCodeAt(0) === first)
        .map(({ opening, begins }) => begins?.source ?? literally(opening))
      return beginnings.length === 0
        ? undefined
        : new RegExp([...new Set(beginnings)].join('|'), 'y')
    })
    for (const { opening } of rows) {
      const first = opening.charCodeAt(0) * ASCII
      if (opening.length === 1) this.#pairs.fill(1, first, first + ASCII)
      else this.#pairs[first + opening.charCodeAt(1)] = 1
    }
  }

  /** @param at a place in the text of the line */
  isAt({ text, bytes }: LineInText, at: number): boolean {
    const first = bytes[at]!
    // Behind the end there is none.
    if (!this.#pairs[first * ASCII + bytes[at + 1]!]) return false
    const pattern = this.#byFirst[first]
    if (!pattern) return false
    pattern.lastIndex = at
    return pattern.test(text)
  }
}

const ANYTHING = /^/

/** @returns whether a rule took the record; the first that matches does */
export const takeBy = (rules: Openings<Rule>, record: LogRecord): boolean => {
  for (const rule of rules.for(record.text)) {
    const { opening, pattern = ANYTHING, take, copies = false } = rule
    if (!record.text.startsWith(opening)) continue
    const match = pattern.exec(record.text)
    if (!match) continue
    if (copies) take(match, record)
    else {
      const text = own(record.text)
      take(pattern.exec(text)!, { ...record, text })
    }
    return true
  }
  return false
}
