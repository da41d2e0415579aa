import type { Debugger, Registers } from '../emulate/debugger.ts'

/**
 * A mock of a stopped guest: memory by address, where it would stop, and
 * registers of its CPUs. What code in it does is shown by boots alone.
 */
export class StoppedGuest {
  readonly stops = new Set<bigint>()
  readonly watched = new Set<bigint>()
  readonly registers: Partial<Registers>[]
  readonly #bytes = new Map<bigint, number>()

  constructor(cpus: number) {
    this.registers = Array.from({ length: cpus }, () => ({
      rip: 0n,
      eflags: 0n,
    }))
  }

  put(address: bigint, data: Uint8Array): void {
    for (const [i, byte] of data.entries())
      this.#bytes.set(address + BigInt(i), byte)
  }

  get(address: bigint, length: number): Buffer {
    return Buffer.from(
      Array.from(
        { length },
        (_, i) => this.#bytes.get(address + BigInt(i)) ?? 0,
      ),
    )
  }

  get debugger(): Debugger {
    const guest: Partial<Debugger> = {
      cpus: this.registers.length,
      plant: async address => {
        addTo(this.stops, address)
      },
      remove: async address => {
        removeFrom(this.stops, address)
      },
      watch: async address => {
        addTo(this.watched, address)
      },
      unwatch: async address => {
        removeFrom(this.watched, address)
      },
      readVirtual: async (_, address, length) => this.get(address, length),
      writeVirtual: async (_, address, data) => {
        this.put(address, data)
      },
      registers: async cpu => this.registers[cpu] as Registers,
      setRegisters: async (cpu, changes) => {
        Object.assign(this.registers[cpu]!, changes)
      },
    }
    return guest as Debugger
  }
}

/** QEMU keeps one that is there twice, and somebody removes it once. */
const addTo = (places: Set<bigint>, address: bigint): void => {
  if (places.has(address)) throw new Error(`${address} is there already`)
  places.add(address)
}

/** QEMU's gdbstub refuses that. */
const removeFrom = (places: Set<bigint>, address: bigint): void => {
  if (!places.delete(address)) throw new Error(`${address} is not there`)
}
