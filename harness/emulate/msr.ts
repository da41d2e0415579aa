import { type Platform, keyidPartitioning } from '../tdx/platform.ts'
import type { Debugger, RegisterChanges, Registers } from './debugger.ts'
import type { KernelSites } from './kernel-sites.ts'
import type { Site, SiteForm } from './sites.ts'
import { VMX_BASIC } from './vmx.ts'
import { type FeatureBit, apicBase } from './x2apic.ts'

const LOW = 0xffffffffn

/** Answers the reads of MSRs that TCG's CPU does not have. */
export class Msrs {
  readonly #guest: Debugger
  readonly #kernel: KernelSites
  readonly #platform: Platform
  /** The byte that holds the feature bit, as it was before we set that. */
  #featureByte: Uint8Array | undefined

  constructor(guest: Debugger, kernel: KernelSites, platform: Platform) {
    this.#guest = guest
    this.#kernel = kernel
    this.#platform = platform
  }

  async read(
    cpu: number,
    { kind, form }: Site,
    registers: Registers,
  ): Promise<RegisterChanges> {
    if (kind === 'keyid-msr') {
      await this.#claimX2apic(cpu)
      const value = keyidPartitioning(this.#platform)
      return this.#answer(cpu, form, registers, value)
    }
    if (kind === 'vmx-basic-msr')
      return this.#answer(cpu, form, registers, VMX_BASIC)
    await this.takeBackX2apic(cpu)
    const value = apicBase(this.#platform.x2apic)
    return this.#answer(cpu, form, registers, value)
  }

  /**
   * RDMSR returns EDX:EAX; native_read_msr_safe() returns RAX, and stores its
   * error where RSI points to (arch/x86/include/asm/msr.h).
   */
  async #answer(
    cpu: number,
    form: SiteForm,
    { rsi }: Registers,
    value: bigint,
  ): Promise<RegisterChanges> {
    if (form === 'rdmsr') return { rax: value & LOW, rdx: value >> 32n }
    await this.#guest.writeVirtual(cpu, rsi, new Uint8Array(4))
    return { rax: value }
  }

  /** From the read of the KeyIDs on the CPU has the feature ... */
  async #claimX2apic(cpu: number): Promise<void> {
    const bit = this.#bit
    if (!bit || this.#featureByte) return
    const byte = await this.#guest.readVirtual(cpu, bit.address, 1)
    this.#featureByte = byte
    const claimed = Uint8Array.of(byte[0]! | bit.mask)
    await this.#guest.writeVirtual(cpu, bit.address, claimed)
  }

  /** ... until the question is answered, or the early initcalls are over. */
  async takeBackX2apic(cpu: number): Promise<void> {
    const bit = this.#bit
    if (!bit || !this.#featureByte) return
    await this.#guest.writeVirtual(cpu, bit.address, this.#featureByte)
    this.#featureByte = undefined
  }

  get #bit(): FeatureBit | undefined {
    return this.#platform.x2apic ? this.#kernel.x2apicBit : undefined
  }
}
