import type { Socket } from 'node:net'
import * as z from 'zod'
import { InfraError } from '../../base/errors.ts'
import { LineSplitter, utf8 } from '../../console/lines.ts'

const eventSchema = z.object({
  event: z.string(),
  data: z.record(z.string(), z.unknown()).default({}),
})
export type QmpEvent = z.output<typeof eventSchema>

const replySchema = z.union([
  z.object({ return: z.unknown(), id: z.number() }),
  z.object({ error: z.object({ desc: z.string() }), id: z.number() }),
])

interface Pending {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

interface Waiting {
  readonly wanted: (event: QmpEvent) => boolean
  readonly resolve: (event: QmpEvent) => void
}

/**
 * QEMU's machine protocol, as far as a boot needs it: JSON documents, one a
 * line (docs/interop/qmp-spec.txt).
 */
export class QmpClient {
  readonly #socket: Socket
  readonly #events: QmpEvent[] = []
  readonly #pending = new Map<number, Pending>()
  readonly #waiting = new Set<Waiting>()
  #lastId = 0
  /** Resolves when QEMU is gone: no event can come any more. */
  readonly closed: Promise<void>

  constructor(socket: Socket) {
    this.#socket = socket
    const lines = new LineSplitter()
    socket.on('error', () => undefined)
    this.closed = new Promise(resolve => {
      socket.once('close', () => {
        for (const { command, reject } of this.#pending.values())
          reject(gone(command))
        this.#pending.clear()
        resolve()
      })
    })
    socket.on('data', (chunk: Buffer) => {
      lines.push(chunk, line => {
        this.#read(utf8(line))
      })
    })
    // Nothing is sent before the capabilities were negotiated. Whether that
    // worked shows with the first command.
    this.execute('qmp_capabilities').catch(() => undefined)
  }

  /** The guest was reset: a triple fault, or a panic with panic=-1. */
  get guestReset(): boolean {
    return this.#events.some(
      ({ event, data }) =>
        event === 'SHUTDOWN' &&
        data['guest'] === true &&
        data['reason'] === 'guest-reset',
    )
  }

  /** Resolves when the guest has powered off, or was reset. */
  async guestIsDown(): Promise<void> {
    const isDown = ({ event }: QmpEvent): boolean => event === 'SHUTDOWN'
    if (!this.#events.some(isDown)) await this.next(isDown)
  }

  /** Somebody ended QEMU with a signal: not the guest, and not we. */
  get endedBySignal(): boolean {
    return this.#events.some(
      ({ event, data }) =>
        event === 'SHUTDOWN' && data['reason'] === 'host-signal',
    )
  }

  /**
   * @returns what QEMU answers
   * @throws InfraError when QEMU refuses, or is gone
   */
  execute(command: string, args: object = {}): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(gone(command))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject })
      this.#socket.write(
        `${JSON.stringify({ execute: command, arguments: args, id })}\n`,
      )
    })
  }

  /** The next event of this kind; never comes when QEMU ends before. */
  next(wanted: (event: QmpEvent) => boolean): Promise<QmpEvent> {
    return new Promise(resolve => {
      this.#waiting.add({ wanted, resolve })
    })
  }

  #read(line: string): void {
    let message: unknown
    try {
      message = JSON.parse(line)
    } catch {
      return
    }
    const event = eventSchema.safeParse(message)
    if (event.success) {
      this.#take(event.data)
      return
    }
    const reply = replySchema.safeParse(message)
    if (!reply.success) return
    const pending = this.#pending.get(reply.data.id)
    this.#pending.delete(reply.data.id)
    if (!pending) return
    if ('error' in reply.data)
      pending.reject(
        new InfraError(
          'QMP_REFUSED',
          `expected QEMU to take the command '${pending.command}', it says: ${reply.data.error.desc}`,
        ),
      )
    else pending.resolve(reply.data.return)
  }

  #take(event: QmpEvent): void {
    this.#events.push(event)
    for (const waiting of this.#waiting) {
      if (!waiting.wanted(event)) continue
      this.#waiting.delete(waiting)
      waiting.resolve(event)
    }
  }
}

const gone = (command: string): InfraError =>
  new InfraError(
    'QMP_CLOSED',
    `QEMU closed its machine protocol before it answered '${command}'`,
  )
