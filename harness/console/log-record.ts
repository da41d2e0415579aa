import { LineSplitter, SIGNS, type TakeLine, utf8 } from './lines.ts'

/** One printk record as it appears on a console. */
export interface LogRecord {
  /** 1-based line number in the console. */
  readonly line: number
  /** Seconds since the kernel's clock started; null when not printed. */
  readonly time: number | null
  /** The message without time stamp, escapes and control characters. */
  readonly text: string
  /** Something stood before the message: it is no second half of another. */
  readonly prefixed: boolean
  /** A journal says that a process wrote it, and not the kernel. */
  readonly user: boolean
}

/* eslint-disable no-control-regex -- consoles are full of them */
const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|[@-Z\\-_])/g
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g
/* eslint-enable no-control-regex */

/** The thread or CPU of CONFIG_PRINTK_CALLER, behind the stamp. */
const CALLER = / ?\[ *[TC]\d+\]/y
/** A stamp in the middle of a line: what follows is another record. */
const NEXT_STAMP = /\[ *\d+\.\d{1,9}\]/

/** In the language of whoever has asked: `Mär`, `11月`, `thg 11`, `ستمبر`. */
const WORDS = String.raw`[^[\]<>=:"]{1,60}?`
const MONTH = '[A-Z][a-z]{2}'
const CLOCK = String.raw`\d\d:\d\d:\d\d(?:\.\d+)?`
const ISO_DATE = String.raw`\d{4}-\d\d-\d\d[T ]`
const ZONE = String.raw`(?: ?(?:[+-]\d\d:?\d\d|Z|[A-Z]{3,5}))?`

/** `Jul 10 20:50:19 host kernel: ` in its dialects; the tag is a group. */
const JOURNAL = new RegExp(
  String.raw`(?:${MONTH} [ \d]\d ${CLOCK}|(?:${MONTH} )?${ISO_DATE}${CLOCK}${ZONE}) (?:\S+ ([^\s:[]+)(?:\[\d+\])?: )?`,
  'y',
)
const DATED = new RegExp(
  String.raw`(?:${WORDS} {1,3}\d{1,2} ${CLOCK}|${WORDS} ${ISO_DATE}${CLOCK}${ZONE}) \S+ ([^\s:[]+)(?:\[\d+\])?: `,
  'y',
)
/** journalctl -o short-monotonic names the host behind the stamp. */
const HOST = /[\w.-]+ kernel(?:\[\d+\])?: /y

/** What options of dmesg put before a message, beside the usual stamp. */
const DMESG = new RegExp(
  `(?:${[
    // -r, -x
    String.raw`<\d{1,3}>`,
    String.raw`[a-z]+ *:[a-z]+ *: `,
    // -T, -e (with a difference on most lines), -d
    String.raw`\[${WORDS} +\d{1,2} ${CLOCK} \d{4}\]`,
    String.raw`\[${WORDS} ?\d{1,2} \d\d:\d\d\]`,
    String.raw`\[ *\+\d+\.\d+\]`,
    String.raw`\[ *\d+\.\d+ *< *\d+\.\d+ *>\]`,
    // --time-format iso
    String.raw`${ISO_DATE}\d\d:\d\d:\d\d,\d+${ZONE}`,
    // Documentation leaves the time out.
    String.raw`\[\.{2,3}\]`,
  ].join('|')}) ?`,
  'y',
)
/** A reply's `> `, and blanks. */
const INDENT = /(?:> ?)*[ \t]*/y

const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const BLANK = 0x20
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39

/** printk prints microseconds; journals may have nanoseconds. */
const MAX_DECIMALS = 9
const POWERS = Array.from({ length: MAX_DECIMALS + 1 }, (_, i) => 10 ** i)

/** Where a sticky pattern ends that matches here; -1 when it does not. */
const after = (pattern: RegExp, text: string, at: number): number => {
  pattern.lastIndex = at
  return pattern.test(text) ? pattern.lastIndex : -1
}

/** What stands before a message. */
interface Prefix {
  readonly end: number
  readonly time: number | null
  readonly prefixed: boolean
  readonly user: boolean
}

const prefixOf = (text: string): Prefix => {
  const start = text.charCodeAt(0) === OPEN_BRACKET ? 0 : after(INDENT, text, 0)
  const stamped = stampAt(text, start, false)
  if (stamped) return stamped
  const journal = journalAt(text, start)
  let at = journal?.end ?? start
  if (journal?.user) return { ...journal, time: null, prefixed: true }
  for (let next = after(DMESG, text, at); next > at;)
    [at, next] = [next, after(DMESG, text, next)]
  const prefixed = at > start
  return (
    stampAt(text, at, prefixed) ?? {
      end: at,
      time: null,
      prefixed,
      user: false,
    }
  )
}

/** `[    0.123456] `, digit by digit: this is where the time goes. */
const stampAt = (
  text: string,
  begin: number,
  prefixed: boolean,
): Prefix | undefined => {
  if (text.charCodeAt(begin) !== OPEN_BRACKET) return undefined
  let at = begin + 1
  while (text.charCodeAt(at) === BLANK) at++
  const first = at
  let digits = 0
  let fraction = -1
  for (; ; at++) {
    const character = text.charCodeAt(at)
    if (character >= ZERO && character <= NINE)
      digits = digits * 10 + character - ZERO
    else if (character === POINT && fraction < 0 && at > first)
      fraction = at + 1
    else break
  }
  const decimals = at - fraction
  if (
    text.charCodeAt(at) !== CLOSE_BRACKET ||
    fraction < 0 ||
    decimals < 1 ||
    decimals > MAX_DECIMALS
  )
    return undefined
  let end = at + 1
  const next = text.charCodeAt(end)
  if (next === OPEN_BRACKET || text.charCodeAt(end + 1) === OPEN_BRACKET)
    end = Math.max(end, after(CALLER, text, end))
  if (text.charCodeAt(end) === BLANK) end++
  const host = prefixed ? -1 : after(HOST, text, end)
  return {
    end: Math.max(end, host),
    // One division of whole numbers: the nearest there is.
    time: digits / POWERS[decimals]!,
    prefixed: true,
    user: false,
  }
}

const journalAt = (
  text: string,
  at: number,
): { readonly end: number; readonly user: boolean } | undefined => {
  for (const pattern of [JOURNAL, DATED]) {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (found)
      return {
        end: pattern.lastIndex,
        user: found[1] !== undefined && found[1] !== 'kernel',
      }
  }
  return undefined
}

/**
 * Reads the records of a line; any text is accepted. There are several where
 * CPUs talk into each other, or where a mail program joined what it wrapped.
 */
export const parseRecords: (
  ...line: [...Parameters<TakeLine>, number]
) => LogRecord[] = (raw, signs, line) => {
  let rest =
    (signs & SIGNS.control) !== 0
      ? raw.replace(ESCAPES, '').replace(CONTROLS, '')
      : raw
  const records: LogRecord[] = []
  for (;;) {
    const { end, time, prefixed, user } = prefixOf(rest)
    const text = end === 0 ? rest : rest.slice(end)
    const next = (signs & SIGNS.bracket) === 0 ? -1 : text.search(NEXT_STAMP)
    const own = (next < 0 ? text : text.slice(0, next)).trim()
    records.push({
      line,
      time,
      text: (signs & SIGNS.wide) === 0 ? own : utf8(own),
      prefixed,
      user,
    })
    if (next < 0) return records
    rest = text.slice(next)
  }
}

/** The first record of a text: all there is on most lines. */
export const parseRecord = (text: string, line: number): LogRecord => {
  let record: LogRecord | undefined
  const lines = new LineSplitter()
  const take: TakeLine = (raw, signs) => {
    record ??= parseRecords(raw, signs, line)[0]
  }
  lines.push(Buffer.from(text), take)
  lines.end(take)
  return record ?? { line, time: null, text: '', prefixed: false, user: false }
}
