import type {
  Debugger,
  RegisterChanges,
  Registers,
  Stop,
} from '../../emulate/debugger.ts'
import { type KernelSites, locate } from '../../emulate/kernel-sites.ts'
import type { KernelImage } from '../../kernel/elf.ts'

/** A kernel that may begin in the guest, and how it is known there. */
export interface KnownKernel {
  readonly sites: KernelSites
  /** x86_64_start_kernel(). */
  readonly entry: bigint
  readonly banner: { readonly address: bigint; readonly bytes: Buffer }
  /** __schedule(): without it nothing goes on. */
  readonly scheduler: bigint
}

/** @throws TypeError for a kernel without the symbols that are needed */
export const knownKernel = async (image: KernelImage): Promise<KnownKernel> => {
  const address = (name: string): bigint => {
    const symbol = image.symbol(name)
    if (!symbol) throw new TypeError(`${image.path} has no ${name}`)
    return symbol.address
  }
  const banner = address('linux_banner')
  return {
    sites: await locate(image),
    entry: address('x86_64_start_kernel'),
    banner: {
      address: banner,
      bytes: Buffer.from(await image.bytesAt(banner, 64)),
    },
    scheduler: address('__schedule'),
  }
}

/** jmp to itself. */
const ENDLESS = Buffer.from([0xeb, 0xfe])

/**
 * A guest that boots one kernel after the other, through its firmware or by
 * kexec: breakpoints outlive a kernel, and nothing else says that the next one
 * begins. An emulation runs on it for one kernel; it is told that its guest is
 * gone when that kernel is.
 */
export class BootingGuest implements Debugger {
  readonly cpus: number
  readonly #guest: Debugger
  readonly #kernels: readonly KnownKernel[]
  readonly #planted = new Set<bigint>()
  readonly #stopped: ((cpu: number) => Promise<void>)[] = []
  #wasReset = false
  /** Where the last kernel began, until something else stops the guest. */
  #at: bigint | undefined
  #begun: { readonly kernel: KnownKernel; readonly stop: Stop } | undefined
  #current: KnownKernel | undefined

  constructor(guest: Debugger, kernels: readonly KnownKernel[]) {
    this.#guest = guest
    this.#kernels = kernels
    this.cpus = guest.cpus
  }

  /** Waits for a known kernel to begin. @returns null: the guest is gone */
  async nextKernel(): Promise<KnownKernel | null> {
    for (;;) {
      for (const address of this.#planted) await this.remove(address)
      if (!this.#begun) {
        const stop = await this.#next()
        if (stop === null) return null
        if (stop !== 'reset') await this.#begins(stop)
      }
      if (this.#begun) {
        this.#current = this.#begun.kernel
        return this.#current
      }
    }
  }

  async resume(): Promise<Stop | null> {
    if (this.#begun) {
      const { stop } = this.#begun
      this.#begun = undefined
      return stop
    }
    const stop = await this.#next()
    if (stop === null || stop === 'reset') return null
    return (await this.#begins(stop)) ? null : stop
  }

  /** The machine was reset: what was planted is of no use any more. */
  reset(): void {
    this.#wasReset = true
    this.#guest.interrupt()
  }

  /** No process is ever scheduled again; timers and interrupts go on. */
  hang(): Promise<void> {
    const kernel = this.#current
    if (!kernel) throw new TypeError('no known kernel runs')
    const done = new Promise<void>(resolve => {
      this.#stopped.push(async cpu => {
        await this.#guest.writeVirtual(cpu, kernel.scheduler, ENDLESS)
        resolve()
      })
    })
    this.#guest.interrupt()
    return done
  }

  async #next(): Promise<Stop | 'reset' | null> {
    for (;;) {
      if (this.#wasReset) {
        this.#wasReset = false
        this.#at = undefined
        return 'reset'
      }
      for (const { entry } of this.#kernels)
        if (entry !== this.#at && !this.#planted.has(entry))
          await this.plant(entry)
      const stop = await this.#guest.resume()
      if (stop === null) return null
      for (const act of this.#stopped.splice(0)) await act(stop.cpu)
      if (stop.reason === 'break') return stop
    }
  }

  /** Another kernel may have anything at that address. */
  async #begins(stop: Stop): Promise<boolean> {
    const { rip } = await this.#guest.registers(stop.cpu)
    this.#at = undefined
    for (const kernel of this.#kernels) {
      if (kernel.entry !== rip) continue
      this.#at = rip
      await this.remove(rip)
      const { address, bytes } = kernel.banner
      const found = await this.#guest
        .readVirtual(stop.cpu, address, bytes.length)
        .catch(() => Buffer.alloc(0))
      if (bytes.equals(found)) this.#begun = { kernel, stop }
    }
    return this.#begun !== undefined
  }

  async plant(address: bigint): Promise<void> {
    this.#planted.add(address)
    await this.#guest.plant(address)
  }
  watch(address: bigint): Promise<void> {
    return this.#guest.watch(address)
  }

  unwatch(address: bigint): Promise<void> {
    return this.#guest.unwatch(address)
  }

  async remove(address: bigint): Promise<void> {
    if (this.#planted.delete(address)) await this.#guest.remove(address)
  }
  interrupt(): void {
    this.#guest.interrupt()
  }
  registers(cpu: number): Promise<Registers> {
    return this.#guest.registers(cpu)
  }
  setRegisters(cpu: number, changes: RegisterChanges): Promise<void> {
    return this.#guest.setRegisters(cpu, changes)
  }
  readVirtual(
    cpu: number,
    address: bigint,
    length: number,
  ): Promise<Uint8Array> {
    return this.#guest.readVirtual(cpu, address, length)
  }
  writeVirtual(cpu: number, address: bigint, bytes: Uint8Array): Promise<void> {
    return this.#guest.writeVirtual(cpu, address, bytes)
  }
  readPhysical(address: number, length: number): Promise<Uint8Array> {
    return this.#guest.readPhysical(address, length)
  }
  writePhysical(address: number, bytes: Uint8Array): Promise<void> {
    return this.#guest.writePhysical(address, bytes)
  }
}
