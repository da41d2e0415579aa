import {
  type FSWatcher,
  closeSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { ConsoleReader } from '../../console/reader.ts'

const CHUNK = 64 * 1024

/**
 * Milliseconds between two looks at a console that is being written: QEMU
 * writes each byte by itself, and waking up for each costs as much as the boot.
 */
const PAUSE = 5

/** Where the console of a boot is written. */
export const consolePathIn = (directory: string): string =>
  join(directory, 'console.log')

export interface ConsoleTailOptions {
  /** Where the files go. */
  readonly directory: string
  /** The time to count from (performance.now()). */
  readonly start: number
  /** What the guest had printed before; default: nothing. */
  readonly beginning?: Uint8Array | undefined
  /** Called after new bytes were read. */
  readonly onBytes: () => void
  readonly onError: (error: unknown) => void
}

/**
 * Follows the file QEMU writes the guest's console to, and notes at what host
 * time each piece was found. What the console says is read from the file again
 * when the boot is over; here it only tells when that is.
 *
 * A file and not a pipe: QEMU writes single bytes, a unix socket holds 278 of
 * those, and when it is full QEMU's UART drops what the guest sends
 * (serial_xmit(), hw/char/serial.c). A file takes them all, however late we read.
 */
export class ConsoleTail {
  readonly reader = new ConsoleReader()
  readonly consolePath: string
  readonly timesPath: string
  readonly #start: number
  readonly #onBytes: () => void
  readonly #onError: (error: unknown) => void
  readonly #console: number
  readonly #times: number
  #watcher: FSWatcher | undefined
  #pause: NodeJS.Timeout | undefined
  readonly #buffer = Buffer.alloc(CHUNK)
  #offset = 0
  #firstByte: number | null = null
  #isClosed = false

  constructor({
    directory,
    start,
    beginning = new Uint8Array(),
    onBytes,
    onError,
  }: ConsoleTailOptions) {
    this.#start = start
    this.#onBytes = onBytes
    this.#onError = onError
    this.consolePath = consolePathIn(directory)
    this.timesPath = join(directory, 'console.times')
    writeFileSync(this.consolePath, beginning)
    this.#console = openSync(this.consolePath, 'r')
    this.#times = openSync(this.timesPath, 'w')
    this.#listen()
  }

  /** Waits for a change, and then for what comes together with it. */
  #listen(): void {
    const watcher = watch(this.consolePath, () => {
      watcher.close()
      this.#pause = setTimeout(this.#goOn, PAUSE)
    })
    watcher.on('error', this.#onError)
    this.#watcher = watcher
  }

  readonly #goOn = (): void => {
    try {
      this.#listen()
    } catch {
      // No watch is left for this user: it is looked at all the same.
      this.#pause = setTimeout(this.#goOn, PAUSE)
    }
    // What was written while nobody listened.
    this.read()
  }

  /** Milliseconds to the first byte. */
  get firstByte(): number | null {
    return this.#firstByte
  }

  /** Reads what is there and was not read yet. */
  read(): void {
    if (this.#isClosed) return
    try {
      for (;;) {
        const length = readSync(
          this.#console,
          this.#buffer,
          0,
          CHUNK,
          this.#offset,
        )
        if (length === 0) return
        this.#take(length)
      }
    } catch (error) {
      this.#onError(error)
    }
  }

  #take(length: number): void {
    const time = performance.now() - this.#start
    this.#firstByte ??= time
    writeSync(this.#times, `${time.toFixed(1)} ${this.#offset} ${length}\n`)
    this.#offset += length
    this.reader.push(this.#buffer.subarray(0, length))
    this.#onBytes()
  }

  /** The console ends with this line, counted from 1; nobody writes any more. */
  cutBehind(line: number): void {
    const bytes = readFileSync(this.consolePath)
    let end = 0
    for (let i = 0; i < line && end < bytes.length; i++) {
      const feed = bytes.indexOf('\n', end)
      end = feed < 0 ? bytes.length : feed + 1
    }
    truncateSync(this.consolePath, end)
  }

  [Symbol.dispose](): void {
    this.#isClosed = true
    this.#watcher?.close()
    clearTimeout(this.#pause)
    closeSync(this.#console)
    closeSync(this.#times)
  }
}
