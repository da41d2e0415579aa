import { BootReader } from './boot-reader.ts'
import type { GuestFacts } from '../guest/protocol.ts'
import type { Facts } from './facts.ts'
import { LineSplitter, type TakeLine } from './lines.ts'
import { parseRecords } from './log-record.ts'
import {
  PlatformReader,
  withPlatform,
  withPlatforms,
} from './platform-reader.ts'
import { BootSplitter } from './boots.ts'
import { Transport } from './transport.ts'
import { Unwrapper } from './wrapped.ts'

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
      this.#boots.at(-1)!.read(record)
    },
  )
  readonly #transport: Transport | undefined
  readonly #platform: PlatformReader | undefined
  #boots: BootReader[] = [new BootReader()]
  #forgotten = 0
  #lineCount = 0
  readonly #tail: string[] = []
  #tailAt = 0

  /** @param pasted it went through mail, pages or tools before it came here */
  constructor({ pasted = false }: { readonly pasted?: boolean } = {}) {
    this.#transport = pasted ? new Transport(this.#records) : undefined
    this.#platform = pasted ? new PlatformReader() : undefined
  }

  /** Nothing that counts can come any more: all steps are done, or a panic. */
  get settled(): boolean {
    return this.#boots.at(-1)!.settled
  }

  /** The line that says that TDX is initialised; null: none does. */
  get initializedAt(): number | null {
    return this.#boots.at(-1)!.initializedAt
  }

  /** What init and the trigger module have reported so far. */
  get guest(): GuestFacts {
    return this.#boots.at(-1)!.guest
  }

  /** The last lines of the console so far, without time stamps. */
  get tail(): readonly string[] {
    return [
      ...this.#tail.slice(this.#tailAt),
      ...this.#tail.slice(0, this.#tailAt),
    ]
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
    this.#lines.push(chunk, this.#read)
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
    this.#boots.push(new BootReader())
    if (this.#boots.length <= MAX_BOOTS) return
    this.#boots = this.#boots.slice(1)
    this.#forgotten++
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
      this.#tail[this.#tailAt] = record.text
      this.#tailAt = (this.#tailAt + 1) % TAIL_LINES
      this.#unwrapper.push(record, raw)
    }
  }
}
