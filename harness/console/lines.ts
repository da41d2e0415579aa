import { LineEnds } from './line-ends.ts'

/** Longest line that is interpreted; the rest of it is skipped. */
export const MAX_LINE = 8192

const TAB = 0x09
const LINE_FEED = 0x0a
const RETURN = 0x0d
const BLANK = 0x20
const AMPERSAND = 0x26
const LESS = 0x3c
const BRACKET = 0x5b
const DELETE = 0x7f

/** Characters of a line that call for more work; each a bit. */
export const SIGNS = {
  /** Control characters other than tabs and the return at the end. */
  control: 1,
  /** Bytes that are no ASCII. */
  wide: 2,
  /** An opening bracket behind the first character. */
  bracket: 4,
  /** `&` or `<`. */
  markup: 8,
} as const

/**
 * Takes a line without its end.
 *
 * @param line a character is a byte (`latin1`); see {@link utf8}
 * @param signs a set of {@link SIGNS}
 */
export type TakeLine = (line: string, signs: number) => void

/**
 * A line of printable ASCII and tabs, where it stands in a larger text. It is
 * the same object for every line.
 */
export interface LineInText {
  text: string
  /** The same text. */
  bytes: Uint8Array
  start: number
  /** Behind its last character, without what ends it. */
  end: number
}

/** @returns false when the line must be looked at: then it is given out */
export type SkimLine = (line: LineInText) => boolean

/** What is no sign: the end of a line, and what may belong to it. */
const END = 16
const MAY_END = 32

const meaningOf = (byte: number): number => {
  if (byte === LINE_FEED) return END
  if (byte === RETURN) return MAY_END
  if (byte < BLANK) return byte === TAB ? 0 : SIGNS.control
  if (byte === BRACKET) return SIGNS.bracket
  if (byte === AMPERSAND || byte === LESS) return SIGNS.markup
  if (byte < DELETE) return 0
  return byte === DELETE ? SIGNS.control : SIGNS.wide
}

/** Every byte is looked at once, and most say nothing: a table is quickest. */
const MEANING = Uint8Array.from({ length: 256 }, (_, byte) => meaningOf(byte))

const NOTHING = new Uint8Array()

/**
 * Splits a byte stream into lines, whatever the chunks look like. Memory is
 * bounded: of an endless line the first {@link MAX_LINE} bytes are given out
 * and the rest is skipped up to the next line feed.
 */
export class LineSplitter {
  #pending = ''
  readonly #ends = new LineEnds()
  readonly #line: LineInText = {
    text: '',
    bytes: NOTHING,
    start: 0,
    end: 0,
  }

  /** @param skim is asked first, of what came in one piece; default: nobody */
  push(chunk: Uint8Array, take: TakeLine, skim?: SkimLine): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const first = bytes.indexOf(LINE_FEED)
    if (first < 0) {
      this.#keep(bytes)
      return
    }
    let start = 0
    if (this.#pending !== '') {
      this.#keep(bytes.subarray(0, first))
      this.#flush(take)
      start = first + 1
    }
    const last = bytes.lastIndexOf(LINE_FEED)
    const whole = bytes.subarray(start, last + 1)
    if (skim && this.#ends.find(whole)) this.#skim(whole, take, skim)
    else giveLines(bytes, start, last, take)
    this.#keep(bytes.subarray(last + 1))
  }

  /** Gives the last line when the stream ended without a line feed. */
  end(take: TakeLine): void {
    if (this.#pending !== '') this.#flush(take)
  }

  /** Whole lines; those that nobody skims are given out. */
  #skim(bytes: Buffer, take: TakeLine, skim: SkimLine): void {
    const { count, feeds, returns } = this.#ends
    const line = this.#line
    const text = bytes.toString('latin1')
    line.text = text
    line.bytes = bytes
    let start = 0
    let returned = returns > 0 ? text.indexOf('\r') : -1
    for (let i = 0; i < count; i++) {
      const feed = feeds[i]!
      const isReturned = feed > start && bytes[feed - 1] === RETURN
      const end = isReturned ? feed - 1 : feed
      const isWhole = returned < 0 || returned >= end
      line.start = start
      line.end = end
      if (!isWhole || end - start > MAX_LINE || !skim(line)) {
        const whole = text.slice(start, Math.min(end, start + MAX_LINE))
        take(whole, signsOfUsual(whole))
      }
      start = feed + 1
      if (returned >= 0 && returned < start)
        returned = text.indexOf('\r', start)
    }
    // Whoever reads the next piece has no use for this one.
    line.text = ''
    line.bytes = NOTHING
  }

  #flush(take: TakeLine): void {
    const line = this.#pending
    this.#pending = ''
    const bytes = Buffer.from(`${line}\n`, 'latin1')
    giveLines(bytes, 0, line.length, take)
  }

  #keep(rest: Buffer): void {
    const room = MAX_LINE - this.#pending.length
    if (rest.length > 0 && room > 0)
      this.#pending += rest.toString('latin1', 0, Math.min(room, rest.length))
  }
}

/** Lines of a part of the bytes that ends with a line feed at `last`. */
const giveLines = (
  bytes: Buffer,
  from: number,
  last: number,
  take: TakeLine,
): void => {
  const text = bytes.toString('latin1', from, last + 1)
  let start = from
  let signs = 0
  for (let at = from; at <= last; at++) {
    const meaning = MEANING[bytes[at]!]!
    if (meaning === 0) continue
    if (meaning === END) {
      const end = at > start && bytes[at - 1] === RETURN ? at - 1 : at
      const bounded = Math.min(end, start + MAX_LINE)
      take(text.slice(start - from, bounded - from), signs)
      start = at + 1
      signs = 0
    } else if (meaning === MAY_END) {
      if (bytes[at + 1] !== LINE_FEED) signs |= SIGNS.control
    } else if (meaning !== SIGNS.bracket || at > start) signs |= meaning
  }
}

/** The {@link SIGNS} of a line that was made of others. */
export const signsOf = (line: string): number => {
  let signs = 0
  for (let at = 0; at < line.length; at++) {
    const meaning = MEANING[line.charCodeAt(at) & 0xff]!
    if (meaning === END || meaning === MAY_END) signs |= SIGNS.control
    else if (meaning !== SIGNS.bracket || at > 0) signs |= meaning
  }
  return signs
}

/** Of a line of printable ASCII, tabs and returns. */
const signsOfUsual = (line: string): number =>
  (line.includes('\r') ? SIGNS.control : 0) |
  (line.includes('[', 1) ? SIGNS.bracket : 0) |
  (line.includes('&') || line.includes('<') ? SIGNS.markup : 0)

/**
 * A text of its own. What is cut out of a larger one keeps all of that in
 * memory, and a log is read in large pieces: whatever is kept must go through
 * this. V8 makes one piece of a joined text before it cuts something out of it;
 * that piece is kept, a quarter of the time of a copy through a buffer.
 */
export const own = (text: string): string => ` ${text}`.slice(1)

/** What the bytes of a line mean as text. */
export const utf8 = (line: string): string =>
  /[\u0080-\u00ff]/.test(line)
    ? Buffer.from(line, 'latin1').toString('utf8')
    : line
