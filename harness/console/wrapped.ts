import { lookUp } from './catalogue.ts'
import { Openings } from './openings.ts'
import type { LogRecord } from './log-record.ts'

/** A record with the length of the line it stood on. */
interface Piece {
  readonly record: LogRecord
  /** Characters of the raw line. */
  readonly width: number
  /** The raw line ended with a blank: the break took its place. */
  readonly blank: boolean
}

/** How a line that may be broken begins, and what it is when it is whole. */
interface Kind {
  readonly opening: string
  readonly isWhole: (text: string) => boolean
}

const like =
  (pattern: RegExp): Kind['isWhole'] =>
  text =>
    pattern.test(text)

const MAP_ENTRY = like(/\[(?:gap 0x\w+-0x\w+\]|mem 0x\w+-0x\w+\] *\S)/)
const AFFINITY = like(
  /^(?:ACPI: )?SRAT: (?:Node \d+ PXM \d+ \[mem 0x\w+-0x\w+\](?: hotplug)?(?: non-volatile)?|PXM \d+ -> APIC 0x\w+ -> Node \d+)$/,
)

/** Lines that are told apart by their end can be put together again. */
export const KINDS = new Openings<Kind>([
  ...['BIOS-e820: ', 'user: [', 'extended: ['].map(opening => ({
    opening,
    isWhole: MAP_ENTRY,
  })),
  ...['ACPI: SRAT: ', 'SRAT: '].map(opening => ({
    opening,
    isWhole: AFFINITY,
  })),
  { opening: 'node ', isWhole: like(/-0x[0-9a-f]+\]$/) },
  ...['tdx: ', 'virt/tdx: ', 'kvm_intel: ', 'SEAMCALL '].map(opening => ({
    opening,
    isWhole: (text: string) => lookUp(text) !== undefined,
  })),
])

const CMDLINE = /^(?:Kernel c|C)ommand line: /

/** Widths at which programs for mail and terminals break lines. */
const WRAPPED = { from: 60, to: 132 }
const TERMINAL_WIDTHS = new Set([80, 100, 120, 132])

/** A message is broken into no more lines than this; a command line is. */
const MAX_PIECES = 4
const MAX_CMDLINE_PIECES = 40

const mayGoOn = (text: string): boolean =>
  KINDS.of(text)?.isWhole(text) === false

/** It is the beginning of something, and no second half. */
const beginsAnew = (text: string): boolean =>
  CMDLINE.test(text) || KINDS.of(text) !== undefined

/**
 * Puts lines together again that a mail program or a terminal broke. A record
 * is held back for as long as what it says is not whole, and the lines behind
 * it have nothing of their own before them.
 */
export class Unwrapper {
  #held: Piece[] = []
  readonly #give: (record: LogRecord) => void

  constructor(give: (record: LogRecord) => void) {
    this.#give = give
  }

  /** Nothing waits for the line behind it. */
  get isIdle(): boolean {
    return this.#held.length === 0
  }

  /** @param raw the line the record is the last one of */
  push(record: LogRecord, raw: string): void {
    if (this.#held.length > 0 && this.#joined(record, raw)) return
    const { text } = record
    if (isCmdline(record, raw.length) || mayGoOn(text))
      this.#held = [pieceOf(record, raw)]
    else this.#give(record)
  }

  /** Nothing follows: what is held is as it is. */
  flush(): void {
    const held = this.#held
    this.#held = []
    const [first] = held
    if (!first) return
    if (CMDLINE.test(first.record.text))
      this.#give({ ...first.record, text: cmdlineOf(held) })
    else for (const { record } of held) this.#give(record)
  }

  /** @returns whether the record went to those that are held */
  #joined(record: LogRecord, raw: string): boolean {
    const { record: first } = this.#held[0]!
    if (record.prefixed || record.text === '' || beginsAnew(record.text)) {
      this.flush()
      return false
    }
    if (CMDLINE.test(first.text)) {
      const last = this.#held.at(-1)!
      const goesOn =
        isBroken(last.width) && this.#held.length < MAX_CMDLINE_PIECES
      if (goesOn) this.#held.push(pieceOf(record, raw))
      else this.flush()
      return goesOn
    }
    const pieces = [...this.#held, pieceOf(record, raw)]
    const whole = [' ', ''].flatMap(blank => {
      const text = pieces.map(({ record }) => record.text).join(blank)
      return mayGoOn(text) ? [] : [text]
    })
    if (whole[0] !== undefined) {
      this.#held = []
      this.#give({ ...first, text: whole[0] })
      return true
    }
    if (pieces.length < MAX_PIECES) {
      this.#held = pieces
      return true
    }
    this.flush()
    return false
  }
}

const pieceOf = (record: LogRecord, raw: string): Piece => ({
  record,
  width: raw.length,
  blank: /[ \t]\r?$/.test(raw),
})

const isBroken = (width: number): boolean =>
  width >= WRAPPED.from && width <= WRAPPED.to

/** Only behind a stamp: what follows without one is no line of its own. */
const isCmdline = ({ prefixed, text }: LogRecord, width: number): boolean =>
  prefixed && isBroken(width) && CMDLINE.test(text)

/** Terminals break words where they end; mail programs take the blank. */
const cmdlineOf = (pieces: readonly Piece[]): string =>
  pieces.reduce((text, { record }, i) => {
    const before = pieces[i - 1]
    if (!before) return record.text
    const inWord = TERMINAL_WIDTHS.has(before.width) && !before.blank
    return text + (inWord ? '' : ' ') + record.text
  }, '')
