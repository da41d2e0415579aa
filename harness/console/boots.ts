import { type Opening, Openings } from './openings.ts'
import type { LogRecord } from './log-record.ts'
import { Said } from './said.ts'
import type { Skimmer } from './skimmer.ts'

/** What may wait for its time stamps; a kernel's first ones come sooner. */
const MAX_WAITING = 4096
/**
 * So many different stamps with records that were all said before make a
 * replay. A few are alike in any two boots: until a kernel has calibrated its
 * clock, stamps are coarse.
 */
const ENOUGH = 20
/** A console that was just enabled says again what was said before it. */
const CONSOLE_LINES = 4
/**
 * Before its version a kernel says a few things, all at time 0: the microcode
 * that was loaded early (until 6.6), cgroups (before 4.14), that it is in a TD.
 */
const EARLY_LINES = 32

/** Texts that tell boots apart. */
interface Notable extends Opening {
  readonly pattern: RegExp
  readonly says:
    | 'begin'
    /** journalctl between two boots. */
    | 'separator'
    | 'console'
    /** Said once in a boot: said differently, it is another one. */
    | 'cmdline'
    | 'kernel-cmdline'
    | 'keyids'
}

const CONSOLE = /console \[\w+\] (?:enabled|disabled)$/

export const NOTABLE = new Openings<Notable>([
  { opening: 'Linux version ', pattern: /./, says: 'begin' },
  {
    opening: '-- ',
    pattern: /^-- (?:Reboot|Boot [0-9a-f]{32}) --$/,
    says: 'separator',
  },
  { opening: 'console [', pattern: CONSOLE, says: 'console' },
  {
    opening: 'printk: ',
    begins: /printk: .*console \[/,
    pattern: CONSOLE,
    says: 'console',
  },
  { opening: 'Command line: ', pattern: /./, says: 'cmdline' },
  { opening: 'Kernel command line: ', pattern: /./, says: 'kernel-cmdline' },
  ...['tdx: ', 'virt/tdx: '].map(opening => ({
    opening,
    pattern: /private KeyID range/,
    says: 'keyids' as const,
  })),
])

const notable = ({ text }: LogRecord): Notable['says'] | undefined => {
  const row = NOTABLE.of(text)
  return row?.pattern.test(text) ? row.says : undefined
}

const isSaid = (record: LogRecord): boolean =>
  record.time !== null && record.time > 0

/**
 * Tells the boots of a console apart. A kernel that begins anew is another
 * boot, unless what follows was said before, stamp for stamp: consoles are
 * replayed, and reports show the head of a log and its tail.
 */
export class BootSplitter {
  readonly #begin: () => void
  readonly #give: (record: LogRecord) => void
  #said = new Said()
  /** What a boot says once. */
  #once = new Map<Notable['says'], LogRecord>()
  #version: string | null = null
  /** Something of this boot had a stamp or a date before it. */
  #prefixed = false
  #last: LogRecord | null = null
  /** Two consoles are written to one log: each line is there twice. */
  #doubled = false
  #consoleLine = -Infinity
  /** This boot has records. */
  #some = false
  /** From a kernel's beginning on, until it is known whether it is new. */
  #waiting: LogRecord[] | null = null
  /** Stamps of records that wait and were said before. */
  #recognised = new Set<number>()
  /** The latest stamp of this boot. */
  #latest = 0
  /** At time 0, behind later ones: a kernel may be about to begin. */
  #early: LogRecord[] = []
  /** The last stamp was earlier than others before it. */
  #behind = false

  /**
   * @param begin is told when another boot begins
   * @param give is given the records of the boot that is under way
   */
  constructor(begin: () => void, give: (record: LogRecord) => void) {
    this.#begin = begin
    this.#give = give
  }

  push(record: LogRecord): void {
    if (record.user) {
      this.#give(record)
      return
    }
    if (this.#isDouble(record)) return
    const says = notable(record)
    if (says === 'separator') this.#separate()
    else if (this.#waiting) this.#wait(this.#waiting, record)
    else if (says === 'begin' && this.#began(record)) this.#beginning(record)
    else if (says !== 'begin' && this.#isEarly(record)) this.#early.push(record)
    else {
      this.#takeEarly()
      this.#take(record, says)
    }
  }

  /**
   * Takes a record that nobody wants to know.
   *
   * @param text its line is in, at the places of the skimmer
   * @returns false when it tells something about the boots: it must be pushed
   */
  pass({ time, from, to }: Skimmer, text: string): boolean {
    if (this.#waiting || this.#early.length > 0 || this.#doubled) return false
    if (time <= this.#latest) return false
    if (!this.#said.isFull) this.#said.add(time, text.slice(from, to))
    this.#last = null
    this.#some = true
    this.#prefixed = true
    this.#latest = time
    this.#behind = false
    return true
  }

  #isEarly({ time }: LogRecord): boolean {
    return time === 0 && this.#latest > 0 && this.#early.length < EARLY_LINES
  }

  /** No kernel began behind them. */
  #takeEarly(): void {
    const early = this.#early
    if (early.length === 0) return
    this.#early = []
    for (const record of early) this.#take(record, notable(record))
  }

  /** The console is over. */
  end(): void {
    const first = this.#waiting?.find(one => notable(one) === 'begin')
    this.#settle(first !== undefined && first.text === this.#version)
    this.#takeEarly()
  }

  #isDouble(record: LogRecord): boolean {
    const last = this.#last
    this.#last = record
    if (last?.time !== record.time || last.text !== record.text) return false
    if (notable(record) === 'begin') this.#doubled = true
    return this.#doubled && record.time !== null
  }

  #separate(): void {
    this.#settle(false)
    this.#takeEarly()
    if (this.#some) this.#next()
  }

  #beginning(record: LogRecord): void {
    // /proc/version, which reports show above the log, or below it.
    if (this.#prefixed !== record.prefixed) {
      this.#takeEarly()
      this.#take(record, undefined)
    } else if (record.time !== null) {
      const waiting = [...this.#early, record]
      this.#early = []
      this.#waiting = waiting
      this.#recognised = new Set()
      if (this.#version !== null && record.text !== this.#version)
        this.#settle(false)
      else
        for (const one of waiting) if (this.#isUndecided) this.#recognise(one)
    } else {
      this.#takeEarly()
      if (record.line - this.#consoleLine > CONSOLE_LINES) this.#next()
      this.#take(record, 'begin')
    }
  }

  get #isUndecided(): boolean {
    return this.#waiting !== null
  }

  /** There was a kernel before: it began, or it was well under way. */
  #began({ time }: LogRecord): boolean {
    return this.#version !== null || (this.#latest > 0 && time === 0)
  }

  #wait(waiting: LogRecord[], record: LogRecord): void {
    waiting.push(record)
    if (this.#saysOther(record)) this.#settle(false)
    else this.#recognise(record)
    if (waiting.length >= MAX_WAITING) this.#settle(this.#version !== null)
  }

  /** Whether it is a replay shows with every record that has a stamp. */
  #recognise(record: LogRecord): void {
    const { time } = record
    if (time === null) return
    const known = this.#said.has(time, record.text)
    // What came before was an excerpt: all of it must come again.
    const excerpt = this.#version === null
    if (!known && !excerpt) this.#settle(false)
    if (!known || time === 0) return
    this.#recognised.add(time)
    const enough = excerpt ? Infinity : ENOUGH
    if (this.#recognised.size >= Math.min(enough, this.#said.stamps))
      this.#settle(true)
  }

  /** It names another kernel or another command line than this boot. */
  #saysOther(record: LogRecord): boolean {
    const says = notable(record)
    if (says === 'begin') return record.text !== this.#version
    const before = says && this.#once.get(says)
    return before !== undefined && isOther(before, record)
  }

  /** @param replay what waits was said before, as far as it is known */
  #settle(replay: boolean): void {
    const waiting = this.#waiting
    this.#waiting = null
    if (!waiting) return
    if (!replay) this.#next()
    for (const record of waiting) this.#take(record, notable(record))
  }

  #take(record: LogRecord, says: Notable['says'] | undefined): void {
    const { time } = record
    if (time !== null && this.#isAgain(record, time)) return
    if (says) this.#note(says, record)
    this.#some = true
    this.#prefixed ||= record.prefixed
    this.#latest = Math.max(this.#latest, time ?? 0)
    this.#give(record)
  }

  /** It was said before, and other things since: a replay, or an excerpt. */
  #isAgain(record: LogRecord, time: number): boolean {
    this.#behind =
      time < this.#latest || (this.#behind && time === this.#latest)
    if (this.#behind && this.#said.has(time, record.text)) return true
    this.#said.add(time, record.text)
    return false
  }

  #note(says: Notable['says'], record: LogRecord): void {
    if (says === 'console') this.#consoleLine = record.line
    else if (says === 'begin') this.#version ??= record.text
    else {
      const before = this.#once.get(says)
      if (before && isOther(before, record)) {
        this.#next()
        this.#some = true
      }
      this.#once.set(says, record)
    }
  }

  #next(): void {
    this.#said = new Said()
    this.#once = new Map()
    this.#version = null
    this.#prefixed = false
    this.#consoleLine = -Infinity
    this.#some = false
    this.#latest = 0
    this.#behind = false
    this.#begin()
  }
}

/** One that is only cut short is the same. */
const isOther = (a: LogRecord, b: LogRecord): boolean =>
  !(a.text.startsWith(b.text) || b.text.startsWith(a.text)) ||
  (isSaid(a) && isSaid(b) && a.time !== b.time)
