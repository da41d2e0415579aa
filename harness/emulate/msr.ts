import { InfraError } from '../base/errors.ts'
import { hex } from '../base/units.ts'
import { ERRNO } from '../tdx/errno.ts'
import { type Platform, keyidPartitioning } from '../tdx/platform.ts'
import type { Debugger, RegisterChanges, Registers } from './debugger.ts'
import type { KernelSites } from './kernel-sites.ts'
import type { Site, SiteForm } from './sites.ts'
import { VMX_BASIC, VMX_BASIC_SEAMRET_INVD_VMCS } from './vmx.ts'
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
    site: Site,
    registers: Registers,
  ): Promise<RegisterChanges> {
    const { kind, form } = site
    if (kind === 'keyid-msr' && this.#platform.keyidMsrFaults === true)
      return this.#fault(cpu, site, registers)
    if (kind === 'keyid-msr') {
      await this.#claimX2apic(cpu)
      const value = keyidPartitioning(this.#platform)
      return this.#answer(cpu, form, registers, value)
    }
    if (kind === 'vmx-basic-msr')
      return this.#answer(
        cpu,
        form,
        registers,
        this.#platform.seamretClearsVmcs === true
          ? VMX_BASIC_SEAMRET_INVD_VMCS
          : VMX_BASIC,
      )
    await this.takeBackX2apic(cpu)
    const value = apicBase(this.#platform.x2apic)
    return this.#answer(cpu, form, registers, value)
  }

  /** RDMSR returns EDX:EAX. */
  async #answer(
    cpu: number,
    form: SiteForm,
    registers: Registers,
    value: bigint,
  ): Promise<RegisterChanges> {
    return form === 'rdmsr'
      ? { rax: value & LOW, rdx: value >> 32n }
      : this.#return(cpu, registers, { value, error: 0 })
  }

  /** What native_read_msr_safe() returns and stores. */
  async #return(
    cpu: number,
    { rsi }: Registers,
    { value, error }: { readonly value: bigint; readonly error: number },
  ): Promise<RegisterChanges> {
    const givesValue = this.#kernel.safeMsrReadGives === 'value'
    const stored = Buffer.alloc(givesValue ? 4 : 8)
    if (givesValue) stored.writeInt32LE(error)
    else stored.writeBigUInt64LE(value)
    await this.#guest.writeVirtual(cpu, rsi, stored)
    return { rax: givesValue ? value : BigInt.asUintN(32, BigInt(error)) }
  }

  /**
   * #GP: what ex_handler_msr() makes of it (arch/x86/mm/extable.c), or what the
   * function returns that was called.
   */
  async #fault(
    cpu: number,
    { form, address, symbol }: Site,
    registers: Registers,
  ): Promise<RegisterChanges> {
    if (form !== 'rdmsr')
      return this.#return(cpu, registers, { value: 0n, error: ERRNO.EIO })
    const fixup = this.#kernel.fixups.get(address)
    if (fixup?.errorIn === undefined)
      throw new InfraError(
        'NO_FIXUP',
        `RDMSR in ${symbol} at ${hex(address)} must raise #GP, and the kernel has no entry for that in its exception table`,
      )
    return {
      rip: fixup.address,
      rax: 0n,
      rdx: 0n,
      [fixup.errorIn]: BigInt.asUintN(64, BigInt(ERRNO.EIO)),
    }
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
