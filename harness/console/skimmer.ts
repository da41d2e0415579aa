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
 * Looks at a line no closer than it takes to see that nobody wants to know it:
 * of ten lines of a kernel nine have the usual stamp and are about something
 * else. What this does not understand is read as all lines once were; what it
 * does, {@link parseRecords} reads as one record with the same time and text.
 */
export class Skimmer {
  /** Of the last line that was boring: seconds, and where its text lies. */
  time = 0
  from = 0
  to = 0
  readonly #told: Told

  constructor(told: Told) {
    this.#told = told
  }

  /**
   * @param text of printable ASCII, tabs and ends of lines
   * @param end of the line, without what ends it
   */
  isBoring(text: string, start: number, end: number): boolean {
    const stamped = this.#stampAt(text, start)
    if (stamped < 0) return false
    let from = stamped
    while (isBlank(text.charCodeAt(from))) from++
    // A caller behind the stamp, or the host of a journal.
    if (text.charCodeAt(from) === OPEN_BRACKET) return false
    if (from === stamped && namesHost(text, from, end)) return false
    if (this.#told.isAt(text, from) || hasStamp(text, from, end)) return false
    let to = end
    while (to > from && isBlank(text.charCodeAt(to - 1))) to--
    this.from = from
    this.to = to
    return true
  }

  /** @returns behind the stamp and its blank; -1 when it is no usual one */
  #stampAt(text: string, start: number): number {
    if (text.charCodeAt(start) !== OPEN_BRACKET) return -1
    let at = start + 1
    while (text.charCodeAt(at) === BLANK) at++
    const first = at
    let digits = 0
    let character = text.charCodeAt(at)
    for (; isDigit(character); character = text.charCodeAt(++at))
      digits = digits * 10 + character - ZERO
    if (at === first || character !== POINT) return -1
    const fraction = ++at
    character = text.charCodeAt(at)
    for (; isDigit(character); character = text.charCodeAt(++at))
      digits = digits * 10 + character - ZERO
    if (at - fraction !== DECIMALS || character !== CLOSE_BRACKET) return -1
    if (text.charCodeAt(at + 1) !== BLANK) return -1
    this.time = digits / MICROSECONDS
    return at + 2
  }
}

const isDigit = (character: number): boolean =>
  character >= ZERO && character <= NINE

const isBlank = (character: number): boolean =>
  character === BLANK || character === TAB

/** journalctl -o short-monotonic: `host kernel: `. */
const namesHost = (text: string, from: number, end: number): boolean => {
  const blank = text.indexOf(' ', from)
  return blank >= 0 && blank < end && text.startsWith(' kernel', blank)
}

/** Another record may begin in the middle of the line. */
const hasStamp = (text: string, from: number, end: number): boolean => {
  let bracket = text.indexOf('[', from)
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
