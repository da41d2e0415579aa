import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { ConsoleReader } from '../../console/reader.ts'

/**
 * Keeps a console as it came, byte by byte, with host times beside it, and
 * reads it on the way.
 */
export class ConsoleSink {
  readonly reader = new ConsoleReader()
  readonly consolePath: string
  readonly timesPath: string
  readonly #start: number
  readonly #console: number
  readonly #times: number
  #offset = 0
  #firstByte: number | null = null

  /** @param start the time to count from (performance.now()) */
  constructor(directory: string, start: number) {
    this.#start = start
    this.consolePath = join(directory, 'console.log')
    this.timesPath = join(directory, 'console.times')
    this.#console = openSync(this.consolePath, 'w')
    this.#times = openSync(this.timesPath, 'w')
  }

  /** Milliseconds to the first byte. */
  get firstByte(): number | null {
    return this.#firstByte
  }

  push(chunk: Buffer): void {
    const time = performance.now() - this.#start
    this.#firstByte ??= time
    writeSync(this.#console, chunk)
    writeSync(
      this.#times,
      `${time.toFixed(1)} ${this.#offset} ${chunk.length}\n`,
    )
    this.#offset += chunk.length
    this.reader.push(chunk)
  }

  [Symbol.dispose](): void {
    this.reader.end()
    closeSync(this.#console)
    closeSync(this.#times)
  }
}
