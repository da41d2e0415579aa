import type { LineInText } from './lines.ts'
import type { Told } from './openings.ts'

const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const BLANK = 0x20
const TAB = 0x09
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39

/** Seconds and microseconds, as printk() prints them. */
const DECIMALS = 6
const MICROSECONDS = 1e6

/**
 * Looks at a line no closer than it takes to see whether somebody wants to know
 * it: of ten lines of a kernel nine have the usual stamp and are about something
 * else. What this does not understand is left to {@link parseRecords}, which
 * reads what it does as one record with the same time and text.
 */
export class Skimmer {
  /** Of the last line that was understood: seconds, and where its text lies. */
  time = 0
  from = 0
  to = 0
  /** Somebody waits for lines that begin like that one. */
  isTold = false
  readonly #told: Told

  constructor(told: Told) {
    this.#told = told
  }

  /** @returns whether it is one record with the usual stamp, and nothing else */
  understands(line: LineInText): boolean {
    const { text, bytes, start, end } = line
    const stamped = this.#stampAt(bytes, start)
    if (stamped < 0) return false
    let from = stamped
    while (isBlank(bytes[from]!)) from++
    // The host of a journal stands behind one blank.
    if (from === stamped && namesHost(bytes, from, end)) return false
    if (hasStamp(text, from, end)) return false
    this.isTold = this.#told.isAt(line, from)
    let to = end
    while (to > from && isBlank(bytes[to - 1]!)) to--
    this.from = from
    this.to = to
    return true
  }

  /** @returns behind the stamp and its blank; -1 when it is no usual one */
  #stampAt(bytes: Uint8Array, start: number): number {
    if (bytes[start] !== OPEN_BRACKET) return -1
    let at = start + 1
    while (bytes[at] === BLANK) at++
    const first = at
    let digits = 0
    let character = bytes[at]!
    for (; isDigit(character); character = bytes[++at]!)
      digits = digits * 10 + character - ZERO
    if (at === first || character !== POINT) return -1
    const fraction = ++at
    character = bytes[at]!
    for (; isDigit(character); character = bytes[++at]!)
      digits = digits * 10 + character - ZERO
    if (at - fraction !== DECIMALS || character !== CLOSE_BRACKET) return -1
    if (bytes[at + 1] !== BLANK) return -1
    this.time = digits / MICROSECONDS
    return at + 2
  }
}

const isDigit = (character: number): boolean =>
  character >= ZERO && character <= NINE

const isBlank = (character: number): boolean =>
  character === BLANK || character === TAB

const KERNEL = Buffer.from(' kernel')

/** journalctl -o short-monotonic: `host kernel: `. */
const namesHost = (bytes: Uint8Array, from: number, end: number): boolean => {
  let at = from
  while (at < end && bytes[at] !== BLANK) at++
  if (at + KERNEL.length > end) return false
  for (let i = 1; i < KERNEL.length; i++)
    if (bytes[at + i] !== KERNEL[i]) return false
  return true
}

/** A caller behind the stamp, or the stamp of another record. */
const hasStamp = (text: string, from: number, end: number): boolean => {
  let bracket = text.indexOf('[', from)
  if (bracket === from) return true
  for (
    ;
    bracket >= 0 && bracket < end;
    bracket = text.indexOf('[', bracket + 1)
  ) {
    let at = bracket + 1
    while (text.charCodeAt(at) === BLANK) at++
    const first = at
    while (isDigit(text.charCodeAt(at))) at++
    if (at > first && text.charCodeAt(at) === POINT) return true
  }
  return false
}
