import type { Socket } from 'node:net'
import * as z from 'zod'
import { LineSplitter } from '../../console/lines.ts'

const eventSchema = z.object({
  event: z.string(),
  data: z.record(z.string(), z.unknown()).default({}),
})
export type QmpEvent = z.output<typeof eventSchema>

/**
 * QEMU's machine protocol, as far as a boot needs it: events. JSON documents,
 * one a line (docs/interop/qmp-spec.txt).
 */
export class QmpEvents {
  readonly #events: QmpEvent[] = []
  /** Resolves when QEMU is gone: no event can come any more. */
  readonly closed: Promise<void>

  constructor(socket: Socket) {
    const lines = new LineSplitter()
    socket.on('error', () => undefined)
    this.closed = new Promise(resolve => {
      socket.once('close', () => {
        resolve()
      })
    })
    socket.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) this.#read(line)
    })
    // Nothing is sent before the capabilities were negotiated.
    socket.write('{"execute":"qmp_capabilities"}\n')
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

  /** Somebody ended QEMU with a signal: not the guest, and not we. */
  get endedBySignal(): boolean {
    return this.#events.some(
      ({ event, data }) =>
        event === 'SHUTDOWN' && data['reason'] === 'host-signal',
    )
  }

  #read(line: string): void {
    let message: unknown
    try {
      message = JSON.parse(line)
    } catch {
      return
    }
    const event = eventSchema.safeParse(message)
    if (event.success) this.#events.push(event.data)
  }
}
