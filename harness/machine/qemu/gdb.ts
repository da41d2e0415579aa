import type { Socket } from 'node:net'
import { InfraError } from '../../base/errors.ts'
import {
  type Debugger,
  REGISTERS,
  type RegisterChanges,
  type RegisterName,
  type Registers,
  type Stop,
} from '../../emulate/debugger.ts'
import {
  MAX_PACKET,
  PacketReader,
  encodePacket,
  registerHex,
  toHex,
} from './gdb-packets.ts'

/** Hex characters of a transfer must fit one packet beside its header. */
const MAX_TRANSFER = Math.floor((MAX_PACKET - 64) / 2)

/** Bytes of a register in the `g` packet and for `P`. */
const widthOf = (name: RegisterName): number => (name === 'eflags' ? 4 : 8)

interface Pending {
  readonly resolve: (reply: string) => void
  readonly reject: (error: Error) => void
}

/**
 * A client for QEMU's gdbstub. Requests are written at once and answered in
 * order, so several may be under way.
 *
 * No acknowledgement is ever sent: the `$` of the next request counts as one
 * (gdb_read_byte(), gdbstub.c), while a `+` that arrives when the guest runs
 * again would stop it.
 */
export class GdbClient implements Debugger {
  readonly cpus: number
  readonly #socket: Socket
  #outgoing = ''
  readonly #reader = new PacketReader()
  readonly #pending: Pending[] = []
  #waiting: ((stop: Stop | null) => void) | undefined
  #closed = false

  private constructor(socket: Socket, cpus: number) {
    this.#socket = socket
    this.cpus = cpus
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      this.#receive(chunk)
    })
    socket.on('error', () => {
      this.#close()
    })
    socket.on('close', () => {
      this.#close()
    })
  }

  /** Takes a fresh connection from a QEMU that was started with -S. */
  static async attach(socket: Socket, cpus: number): Promise<GdbClient> {
    const client = new GdbClient(socket, cpus)
    // `?` forgets all breakpoints, so it comes before any Z; P is mute until
    // the target description was read once (both: QEMU 7.2, gdbstub.c).
    await Promise.all([
      client.#request('qSupported:xmlRegisters=i386'),
      client.#request('?'),
      client.#request('qXfer:features:read:target.xml:0,ffb'),
    ])
    return client
  }

  async plant(address: bigint): Promise<void> {
    await this.#expectOk(`Z1,${address.toString(16)},1`)
  }

  async remove(address: bigint): Promise<void> {
    await this.#expectOk(`z1,${address.toString(16)},1`)
  }

  async watch(address: bigint): Promise<void> {
    await this.#expectOk(`Z2,${address.toString(16)},1`)
  }

  async unwatch(address: bigint): Promise<void> {
    await this.#expectOk(`z2,${address.toString(16)},1`)
  }

  resume(): Promise<Stop | null> {
    if (this.#closed) return Promise.resolve(null)
    return new Promise(resolve => {
      this.#waiting = resolve
      this.#write(encodePacket('c'))
    })
  }

  interrupt(): void {
    if (this.#waiting) this.#write('\x03')
  }

  async registers(cpu: number): Promise<Registers> {
    const [, reply] = await Promise.all([this.#select(cpu), this.#request('g')])
    const bytes = Buffer.from(reply, 'hex')
    let offset = 0
    const values = REGISTERS.map(name => {
      const width = widthOf(name)
      const value =
        width === 8
          ? bytes.readBigUInt64LE(offset)
          : BigInt(bytes.readUInt32LE(offset))
      offset += width
      return [name, value] as const
    })
    return Object.fromEntries(values) as Record<RegisterName, bigint>
  }

  /** By `P`, one by one: `G` would also write CR3 and flush the TLB. */
  async setRegisters(cpu: number, changes: RegisterChanges): Promise<void> {
    const writes = Object.entries(changes) as [RegisterName, bigint][]
    await Promise.all([
      this.#select(cpu),
      ...writes.map(([name, value]) =>
        this.#expectOk(
          `P${REGISTERS.indexOf(name).toString(16)}=${registerHex(value, widthOf(name))}`,
        ),
      ),
    ])
  }

  async readVirtual(
    cpu: number,
    address: bigint,
    length: number,
  ): Promise<Uint8Array> {
    const [, bytes] = await Promise.all([
      this.#select(cpu),
      this.#read(address, length),
    ])
    return bytes
  }

  readPhysical(address: number, length: number): Promise<Uint8Array> {
    return this.#physically(() => this.#read(BigInt(address), length))
  }

  async writeVirtual(
    cpu: number,
    address: bigint,
    bytes: Uint8Array,
  ): Promise<void> {
    await Promise.all([this.#select(cpu), this.#send(address, bytes)])
  }

  async writePhysical(address: number, bytes: Uint8Array): Promise<void> {
    await this.#physically(() => this.#send(BigInt(address), bytes))
  }

  async #send(address: bigint, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += MAX_TRANSFER) {
      const part = bytes.subarray(at, at + MAX_TRANSFER)
      await this.#expectOk(
        `M${(address + BigInt(at)).toString(16)},${part.length.toString(16)}:${toHex(part)}`,
      )
    }
  }

  async #physically<T>(action: () => Promise<T>): Promise<T> {
    await this.#expectOk('Qqemu.PhyMemMode:1')
    try {
      return await action()
    } finally {
      await this.#expectOk('Qqemu.PhyMemMode:0')
    }
  }

  async #read(address: bigint, length: number): Promise<Uint8Array> {
    const parts: Promise<string>[] = []
    for (let at = 0; at < length; at += MAX_TRANSFER) {
      const size = Math.min(MAX_TRANSFER, length - at)
      parts.push(
        this.#request(
          `m${(address + BigInt(at)).toString(16)},${size.toString(16)}`,
        ),
      )
    }
    const bytes = Buffer.from((await Promise.all(parts)).join(''), 'hex')
    if (bytes.length !== length)
      throw new InfraError(
        'GDB_MEMORY',
        `expected ${length} bytes of guest memory at 0x${address.toString(16)}, got ${bytes.length}`,
      )
    return bytes
  }

  async #select(cpu: number): Promise<void> {
    await this.#expectOk(`Hg${(cpu + 1).toString(16)}`)
  }

  async #expectOk(payload: string): Promise<void> {
    const reply = await this.#request(payload)
    if (reply !== 'OK')
      throw new InfraError(
        'GDB_REFUSED',
        `expected QEMU's gdbstub to accept '${payload.slice(0, 60)}', got '${reply || 'nothing'}'`,
      )
  }

  #request(payload: string): Promise<string> {
    if (this.#closed) return Promise.reject(gone())
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject })
      this.#write(encodePacket(payload))
    })
  }

  /** What is asked in one turn goes out in one piece: QEMU wakes up once. */
  #write(text: string): void {
    if (this.#outgoing === '')
      queueMicrotask(() => {
        const whole = this.#outgoing
        this.#outgoing = ''
        if (!this.#closed) this.#socket.write(whole, 'latin1')
      })
    this.#outgoing += text
  }

  #receive(chunk: string): void {
    let payloads: string[]
    try {
      payloads = this.#reader.push(chunk)
    } catch {
      this.#socket.destroy()
      return
    }
    for (const payload of payloads) {
      const next = this.#pending.shift()
      if (next) next.resolve(payload)
      else this.#stopped(payload)
    }
  }

  /** `T05thread:02;` for a breakpoint, with `watch:` and the address behind it
   * for a watchpoint; `T02...` after our interrupt. */
  #stopped(payload: string): void {
    const match =
      /^T([0-9a-f]{2})(?:.*?thread:(?:p[0-9a-f]+\.)?([0-9a-f]+);)?/.exec(
        payload,
      )
    const resolve = this.#waiting
    if (!match || !resolve) return
    this.#waiting = undefined
    resolve({
      cpu: parseInt(match[2] ?? '1', 16) - 1,
      reason: match[1] === '05' ? 'break' : 'interrupt',
    })
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting?.(null)
    this.#waiting = undefined
    for (const { reject } of this.#pending.splice(0)) reject(gone())
  }
}

const gone = (): InfraError =>
  new InfraError('GDB_CLOSED', 'QEMU closed the connection to its gdbstub')
