import { type WriteStream, createWriteStream } from 'node:fs'
import { type Server, type Socket, createServer } from 'node:net'

/** Milliseconds. */
const TICK = 10
/** 115200 baud: 8 bits, a start and a stop bit. */
const BYTES_PER_TICK = (115_200 / 10) * (TICK / 1000)

/**
 * The serial port of a made host: it is there whether the host is on or off, as
 * a cable is. What comes over it is kept, and handed to whoever has plugged in.
 */
export class SerialLine implements AsyncDisposable {
  readonly #log: WriteStream
  readonly #server: Server
  readonly #listeners = new Set<Socket>()
  #queue = Buffer.alloc(0)
  #pace: NodeJS.Timeout | undefined
  #host: Socket | undefined
  #text = ''
  #waiting: { text: string; from: number; resolve: () => void }[] = []

  private constructor(log: WriteStream, server: Server) {
    this.#log = log
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#listeners.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => this.#listeners.delete(socket))
      socket.on('data', (chunk: Buffer) => this.#host?.write(chunk))
    })
  }

  static async open(port: number, path: string): Promise<SerialLine> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    return new SerialLine(createWriteStream(path, { flags: 'a' }), server)
  }

  /** Everything that has come so far. */
  get text(): string {
    return this.#text
  }

  /** A machine that was switched on. */
  attach(host: Socket): void {
    this.#host = host
    host.on('error', () => undefined)
    host.on('data', (chunk: Buffer) => {
      this.#take(chunk)
    })
  }

  #take(chunk: Buffer): void {
    this.#log.write(chunk)
    this.#queue = Buffer.concat([this.#queue, chunk])
    this.#pace ??= setInterval(() => {
      this.#hand()
    }, TICK)
    this.#text += chunk.toString('latin1')
    const met = this.#waiting.filter(({ text, from }) =>
      this.#text.includes(text, from),
    )
    this.#waiting = this.#waiting.filter(one => !met.includes(one))
    for (const { resolve } of met) resolve()
  }

  /** A BMC loses what comes faster than its port is set to (ipmi_sim 2.0.33). */
  #hand(): void {
    const part = this.#queue.subarray(0, BYTES_PER_TICK)
    this.#queue = this.#queue.subarray(part.length)
    for (const listener of this.#listeners) listener.write(part)
    if (this.#queue.length > 0) return
    clearInterval(this.#pace)
    this.#pace = undefined
  }

  /** Resolves when this text comes, or has come since a length of the text. */
  printed(text: string, from = this.#text.length): Promise<void> {
    return new Promise(resolve => {
      if (this.#text.includes(text, from)) resolve()
      else this.#waiting.push({ text, from, resolve })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#pace)
    this.#host?.destroy()
    for (const socket of this.#listeners) socket.destroy()
    await new Promise(resolve => this.#server.close(resolve))
    await new Promise(resolve => this.#log.end(resolve))
  }
}
