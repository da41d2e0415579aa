import { BootReader } from './boot-reader.ts'
import type { GuestFacts } from '../guest/protocol.ts'
import type { Facts } from './facts.ts'
import { LineSplitter, type SkimLine, type TakeLine } from './lines.ts'
import { PANIC } from './oops.ts'
import { Told } from './openings.ts'
import { parseRecords } from './log-record.ts'
import {
  PlatformReader,
  withPlatform,
  withPlatforms,
} from './platform-reader.ts'
import { BootSplitter, NOTABLE } from './boots.ts'
import { Skimmer } from './skimmer.ts'
import { Transport } from './transport.ts'
import { KINDS, Unwrapper } from './wrapped.ts'

const TAIL_LINES = 25

/** Boots of which facts are kept; of more, the first ones are let go. */
const MAX_BOOTS = 64

/**
 * Reads a console as it arrives and keeps the facts, boot by boot. Every line
 * is looked at once; memory does not grow with the length of the console.
 */
export class ConsoleReader {
  readonly #lines = new LineSplitter()
  readonly #unwrapper = new Unwrapper(record => {
    this.#splitter.push(record)
  })
  readonly #splitter = new BootSplitter(
    () => {
      this.#begin()
    },
    record => {
      this.#boot.read(record)
    },
  )
  readonly #transport: Transport | undefined
  readonly #platform: PlatformReader | undefined
  /** The one that is under way. */
  #boot = new BootReader()
  #boots: BootReader[] = [this.#boot]
  readonly #skimmer = new Skimmer(
    (told ??= new Told([...this.#boots[0]!.openings, NOTABLE, KINDS])),
  )
  /** Nothing in what is read now calls for more work, wherever it stands. */
  #isUsual = false
  #forgotten = 0
  #lineCount = 0
  /** The last lines, each within a text: most are never looked at. */
  readonly #tail: { text: string; from: number; to: number }[] = []
  #tailAt = 0

  /** @param pasted it went through mail, pages or tools before it came here */
  constructor({ pasted = false }: { readonly pasted?: boolean } = {}) {
    this.#transport = pasted ? new Transport(this.#records) : undefined
    this.#platform = pasted ? new PlatformReader() : undefined
  }

  /** Nothing that counts can come any more: all steps are done, or a panic. */
  get settled(): boolean {
    return this.#boot.settled
  }

  /** The line that says that TDX is initialised; null: none does. */
  get initializedAt(): number | null {
    return this.#boot.initializedAt
  }

  /** The kernel has complained about something. */
  get hasIncidents(): boolean {
    return this.#boot.hasIncidents
  }

  /** What init and the trigger module have reported so far. */
  get guest(): GuestFacts {
    return this.#boot.guest
  }

  /** The last lines of the console so far, without time stamps. */
  get tail(): readonly string[] {
    return [
      ...this.#tail.slice(this.#tailAt),
      ...this.#tail.slice(0, this.#tailAt),
    ].map(({ text, from, to }) => text.slice(from, to))
  }

  /** Lines that were read, whatever boot they belong to. */
  get lineCount(): number {
    return this.#lineCount
  }

  /** Boots whose facts were let go, because there were so many. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** Takes the next bytes of the console, in chunks of any size. */
  push(chunk: Uint8Array): void {
    if (this.#lineCount === 0) this.#transport?.expect(chunk)
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    this.#isUsual =
      !bytes.includes(PANIC) && this.#transport?.changes(bytes) !== true
    this.#lines.push(chunk, this.#read, this.#skim)
  }

  /** The console is over: what is left is a line. */
  end(): void {
    this.#lines.end(this.#read)
    this.#transport?.end()
    this.#unwrapper.flush()
    this.#splitter.end()
  }

  /** The facts of the first boot that is known: of most consoles the only. */
  facts(): Facts {
    return withPlatform(
      this.#boots[0]!.facts(),
      this.#platform?.facts() ?? null,
    )
  }

  /** The facts of every boot, in the order of the console. */
  boots(): Facts[] {
    return withPlatforms(
      this.#boots.map(boot => boot.facts()),
      this.#platform?.facts() ?? null,
    )
  }

  #begin(): void {
    this.#boot = new BootReader()
    this.#boots.push(this.#boot)
    if (this.#boots.length <= MAX_BOOTS) return
    this.#boots = this.#boots.slice(1)
    this.#forgotten++
  }

  /** Most lines are the usual ones, and of ten of those nine say nothing. */
  readonly #skim: SkimLine = line => {
    const skimmer = this.#skimmer
    if (!this.#isUsual || !this.#unwrapper.isIdle) return false
    if (this.#transport?.isPlain === false) return false
    if (!skimmer.understands(line)) return false
    this.#lineCount++
    const { text, start, end } = line
    const { isTold, time, from, to } = skimmer
    this.#keepTail(text, from, to)
    if (!isTold && this.#splitter.pass(skimmer, text)) {
      this.#boot.pass(this.#lineCount)
      return true
    }
    const record = {
      line: this.#lineCount,
      time,
      text: text.slice(from, to),
      prefixed: true,
      user: false,
    }
    this.#unwrapper.push(record, text.slice(start, end))
    return true
  }

  #keepTail(text: string, from: number, to: number): void {
    const kept = (this.#tail[this.#tailAt] ??= { text, from, to })
    kept.text = text
    kept.from = from
    kept.to = to
    this.#tailAt = (this.#tailAt + 1) % TAIL_LINES
  }

  readonly #read: TakeLine = (raw, signs) => {
    this.#lineCount++
    if (this.#transport) this.#transport.push(raw, signs, this.#lineCount)
    else this.#records(raw, signs, this.#lineCount)
  }

  readonly #records = (raw: string, signs: number, line: number): void => {
    for (const record of parseRecords(raw, signs, line)) {
      // Kernels put stamps before theirs.
      if (this.#platform && !record.prefixed)
        this.#platform.read(record.text, line)
      this.#keepTail(record.text, 0, record.text.length)
      this.#unwrapper.push(record, raw)
    }
  }
}

/** The same for every boot; made when the first console is read. */
let told: Told | undefined
