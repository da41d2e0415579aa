import { LineSplitter, type TakeLine, signsOf } from './lines.ts'
import { asPosted } from './pasted.ts'

/** A line with its 1-based number in the file. */
type TakeNumbered = (raw: string, signs: number, line: number) => void

const HEADER = /^(?:> ?)*Content-Transfer-Encoding: *([\w-]+) *\r?$/i
const BASE64 = /^[A-Za-z\d+/]{4,}={0,2}$/
const ESCAPE = /=([\dA-F]{2})/gi
const MARK = /^(?:> ?)+/

/** Lines that one line may have been broken into. */
const MAX_PIECES = 200

/** A line that goes on in the next one. */
interface Broken {
  readonly text: string
  readonly line: number
  readonly pieces: number
  /** The mark of a reply that quotes what is still encoded. */
  readonly mark: string
}

/** Fields of a journal's entry (systemd, "Journal Export Formats"). */
interface Entry {
  message: string | undefined
  line: number
  isKernel: boolean
  micros: number | undefined
}

/**
 * Takes away what carried a log: encodings of mail, markup of pages, fields of
 * a journal or of dmesg's JSON. Lines keep the numbers they have in the file.
 */
export class Transport {
  readonly #take: TakeNumbered
  #encoding = 'plain'
  #broken: Broken | undefined
  #decoded = new LineSplitter()
  #line = 0
  #entry: Entry | undefined
  /** Of dmesg's JSON: the time stands on a line of its own. */
  #seconds: number | undefined

  constructor(take: TakeNumbered) {
    this.#take = take
  }

  /** Without a header the text itself may say how it is encoded. */
  expect(beginning: Uint8Array): void {
    const text = Buffer.from(
      beginning.buffer,
      beginning.byteOffset,
      Math.min(beginning.byteLength, LOOKED_AT),
    ).toString('latin1')
    if (isQuotedPrintable(text)) this.#encoding = 'quoted-printable'
  }

  push(raw: string, signs: number, line: number): void {
    this.#line = line
    const header = raw.length < 80 ? HEADER.exec(raw) : null
    if (header) {
      this.#flush()
      this.#encoding = header[1]!.toLowerCase()
    }
    if (this.#encoding === 'quoted-printable') this.#unquote(raw, line)
    else if (this.#encoding === 'base64' && BASE64.test(raw.trim()))
      this.#decoded.push(Buffer.from(raw, 'base64'), this.#again)
    else this.#read(raw, signs, line)
  }

  /** A page may have put something into these bytes. */
  changes(bytes: Buffer): boolean {
    return bytes.includes('<') || bytes.includes('&')
  }

  /** Else a line that begins with a bracket is given as it is. */
  get isPlain(): boolean {
    return this.#encoding === 'plain' && !this.#entry
  }

  end(): void {
    this.#flush()
    if (this.#entry) this.#endEntry(this.#entry)
  }

  readonly #again: TakeLine = (raw, signs) => {
    this.#read(raw, signs, this.#line)
  }

  #flush(): void {
    const broken = this.#broken
    this.#broken = undefined
    if (broken) this.#unescaped(broken.text, broken.line)
    this.#decoded.end(this.#again)
    this.#decoded = new LineSplitter()
  }

  /** RFC 2045, section 6.7. */
  #unquote(raw: string, line: number): void {
    const before = this.#broken
    this.#broken = undefined
    const mark = before ? before.mark : (MARK.exec(raw)?.[0] ?? '')
    const own =
      before && mark !== '' && raw.startsWith(mark)
        ? raw.slice(mark.length)
        : raw
    const text = (before?.text ?? '') + own.trimEnd()
    const pieces = (before?.pieces ?? 0) + 1
    if (text.endsWith('=') && pieces < MAX_PIECES)
      this.#broken = {
        text: text.slice(0, -1),
        line: before?.line ?? line,
        pieces,
        mark,
      }
    else this.#unescaped(text, before?.line ?? line)
  }

  #unescaped(text: string, line: number): void {
    const bytes = text.replace(ESCAPE, (_, code: string) =>
      String.fromCharCode(parseInt(code, 16)),
    )
    this.#read(bytes, signsOf(bytes), line)
  }

  #read(raw: string, signs: number, line: number): void {
    if (this.#isOfJournal(raw, line)) return
    for (const text of asPosted(raw, signs)) {
      const isSame = text === raw
      this.#take(text, isSame ? signs : signsOf(text), line)
    }
  }

  /** @returns whether the line was of a format with fields */
  #isOfJournal(raw: string, line: number): boolean {
    const first = raw.charCodeAt(0)
    if (first === BRACE && raw.includes('"MESSAGE"')) {
      this.#jsonEntry(raw, line)
      return true
    }
    if (this.#entry) return this.#field(this.#entry, raw, line)
    if (first === UNDERSCORE && raw.startsWith('__CURSOR=')) {
      this.#entry = emptyEntry(line)
      return true
    }
    // The last brace of dmesg's JSON stands at the margin.
    if (first !== BLANK && first !== TAB && raw !== '}') return false
    const member = DMESG_MEMBER.exec(raw)
    if (!member) return this.#seconds !== undefined && DMESG_FRAME.test(raw)
    if (member[1] !== undefined) this.#seconds = Number(member[1])
    else this.#message(member[2]!, member[3] !== undefined, line)
    return true
  }

  /**
   * dmesg --json --file: what has no level before its stamp belongs to the message
   * before it. With util-linux 2.38 (no more with 2.41) every message has all that
   * comes behind it.
   */
  #message(json: string, isWhole: boolean, line: number): void {
    const [first = '', ...others] = json.split('\\n')
    this.#give(unescapedJson(first), this.#seconds, line)
    // The last one of a line that is too long is cut anywhere.
    for (const other of isWhole ? others : others.slice(0, -1)) {
      const text = unescapedJson(other)
      // It comes again by itself.
      if (LEVELED.test(text)) return
      if (STAMPED.test(text)) this.#take(text, signsOf(text), line)
      else if (text !== '') this.#give(text, this.#seconds, line)
    }
    if (!isWhole) this.#take(LOST, 0, line)
  }

  /** journalctl -o json: an object a line, in which fields are texts. */
  #jsonEntry(raw: string, line: number): void {
    const of = (name: string): string | undefined => {
      const found = new RegExp(
        `"${name}" ?: ?"((?:[^"\\\\]|\\\\.)*)(?:"|$)`,
      ).exec(raw)
      return found ? unescapedJson(found[1]!) : undefined
    }
    const micros = of('_SOURCE_MONOTONIC_TIMESTAMP')
    this.#endEntry({
      message: of('MESSAGE'),
      line,
      isKernel: of('_TRANSPORT') === 'kernel',
      micros: micros === undefined ? undefined : Number(micros),
    })
  }

  #field(entry: Entry, raw: string, line: number): boolean {
    if (raw === '') {
      this.#endEntry(entry)
      return true
    }
    const at = raw.indexOf('=')
    const value = raw.slice(at + 1)
    switch (raw.slice(0, at)) {
      case '__CURSOR':
        this.#endEntry(entry)
        this.#entry = emptyEntry(line)
        break
      case 'MESSAGE':
        entry.message = value
        entry.line = line
        break
      case '_TRANSPORT':
        entry.isKernel = value === 'kernel'
        break
      case '_SOURCE_MONOTONIC_TIMESTAMP':
        entry.micros = Number(value)
        break
    }
    return true
  }

  #endEntry({ message, line, isKernel, micros }: Entry): void {
    this.#entry = undefined
    if (message === undefined || !isKernel) return
    this.#give(message, micros === undefined ? undefined : micros / 1e6, line)
  }

  /** As the kernel prints it. */
  #give(message: string, seconds: number | undefined, line: number): void {
    const stamp =
      seconds === undefined || !Number.isFinite(seconds)
        ? ''
        : `[${seconds.toFixed(6).padStart(12)}] `
    const text = stamp + message
    this.#take(text, signsOf(text), line)
  }
}

const emptyEntry = (line: number): Entry => ({
  message: undefined,
  line,
  isKernel: false,
  micros: undefined,
})

const BRACE = 0x7b
const UNDERSCORE = 0x5f
const BLANK = 0x20
const TAB = 0x09

/** dmesg --json (util-linux, sys-utils/dmesg.c). */
const DMESG_MEMBER =
  /^\s{3,}(?:"time": *(\d{1,9}\.\d{1,9}),|"msg": "((?:[^"\\]|\\.)*)(?:(")|\\?))\s*$/

/** As the kernel says it, of what stands behind the longest line. */
const LOST = '** 1 printk messages dropped **'

const STAMPED = /^\[ *\d{1,9}\.\d{6}\]/
const LEVELED = /^<\d{1,3}>\[ *\d{1,9}\.\d{6}\]/

/** What else it has on lines of their own. */
const DMESG_FRAME = /^\s*(?:[{}[\],]+|"\w+": .*)\s*$/

/** A text as it stands in JSON; what is broken stays as it is. */
const unescapedJson = (text: string): string => {
  try {
    const parsed = JSON.parse(`"${text}"`) as unknown
    return typeof parsed === 'string' ? parsed : text
  } catch {
    return text
  }
}

/** Bytes at the beginning that are looked at. */
const LOOKED_AT = 1024 * 1024

const CMDLINE = /[Cc]ommand line: (.*)/
const SOFT_BREAK = /^.{65,75}[^=]=\r?$/

/**
 * A command line whose every `=` is the beginning of an escape, or lines that
 * are broken where mail is.
 */
const isQuotedPrintable = (text: string): boolean => {
  const escapes = CMDLINE.exec(text)?.[1] ?? ''
  const signs = escapes.replace(/=\r?$/, '').match(/=/g)?.length ?? 0
  const isEscaped =
    signs > 0 && escapes.match(/=(?:3D|20|C2)/gi)?.length === signs
  let broken = 0
  for (const line of text.split('\n')) if (SOFT_BREAK.test(line)) broken++
  return (isEscaped && signs > 1) || (isEscaped && broken > 0) || broken > 2
}
