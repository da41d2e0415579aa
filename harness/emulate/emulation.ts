import { InfraError } from '../base/errors.ts'
import { hex } from '../base/units.ts'
import { type LeafName, leafOf } from '../tdx/leaves.ts'
import { Seam } from '../tdx/seam.ts'
import type { Fault } from '../tdx/fault.ts'
import type { Platform } from '../tdx/platform.ts'
import type { SeamcallOutcome } from '../tdx/seamcall.ts'
import type { Debugger, RegisterChanges, Registers, Stop } from './debugger.ts'
import { GuestCode } from './guest-code.ts'
import { type GivenMap, injectE820 } from './inject-e820.ts'
import {
  type EarlyNotes,
  type KernelNotes,
  type KernelSeen,
  newNotes,
} from './kernel-seen.ts'
import type { KernelSites } from './kernel-sites.ts'
import type { Ledger } from './ledger.ts'
import { readNumber, readString } from './memlist.ts'
import { Msrs } from './msr.ts'
import { RegionList } from './region-list.ts'
import type { Site } from './sites.ts'
import { INVALID_OPCODE, Vmx, vmFailInvalid, vmSucceed } from './vmx.ts'

export interface EmulationOptions {
  readonly guest: Debugger
  readonly kernel: KernelSites
  readonly platform: Platform
  /** Leaves that kernels of its series call before they need the list. */
  readonly leavesBeforeList: ReadonlySet<LeafName>
  /**
   * Touch the kernel at x86_64_start_kernel() and not before: KVM cannot write
   * breakpoints into code that is not mapped yet, and a bzImage is not even
   * unpacked.
   */
  readonly late: boolean
  /** The memory map to be given to the kernel; undefined: the firmware's. */
  readonly map: GivenMap | undefined
  /** Follows what the kernel allocates; undefined: nobody wants to know. */
  readonly ledger: Ledger | undefined
  /**
   * The kernel will start itself again with kexec. It takes a breakpoint more
   * than the four that KVM has.
   */
  readonly followsKexec: boolean
  /**
   * The guest was stopped by another emulation where that one called
   * `onFirstCall`, and this is what had been seen; default: it starts here.
   */
  readonly begun?: EarlyNotes | undefined
  /**
   * The guest has stopped in front of its first VMX instruction or SEAMCALL,
   * behind smp_init(); nothing was answered yet.
   */
  readonly onFirstCall?: (seen: EarlyNotes) => Promise<void>
  /** Code may be put into the guest, to stop it less; default: none is. */
  readonly entersGuest?: boolean
  /** A leaf of the module never returns: the guest stays as it is. */
  readonly onUnanswered: () => void
  /** Called at every stop: the guest is alive. */
  readonly onActivity: () => void
}

/** What was done about a stop, and what is still on its way to the guest. */
interface Answered {
  readonly written: Promise<void>
}

const DONE: Answered = { written: Promise.resolve() }

/** Puts the TDX module model behind a guest. */
export class Emulation {
  readonly #options: EmulationOptions
  readonly #seam: Seam
  /** Of the kernel that runs. */
  #msrs: Msrs
  readonly #vmx = new Vmx()
  /** Undefined: breakpoints stop the guest at every call. */
  readonly #code: GuestCode | undefined
  readonly #regions: RegionList
  /** What was seen of each kernel; the last one runs. */
  readonly #kernels: KernelNotes[]
  /** The kernel that runs has called something, or is about to. */
  #hasCalled = false
  #interrupted: (() => void) | undefined

  constructor(options: EmulationOptions) {
    this.#options = options
    const { guest, kernel, platform } = options
    this.#seam = new Seam(platform, {
      read: (address, length) => guest.readPhysical(address, length),
      write: (address, bytes) => guest.writePhysical(address, bytes),
    })
    this.#msrs = new Msrs(guest, kernel, platform)
    this.#kernels = [newNotes(options.begun)]
    this.#code =
      options.entersGuest === true && kernel.textGap
        ? new GuestCode(guest, this.#seam, kernel.textGap, kernel)
        : undefined
    this.#hasCalled = options.begun !== undefined
    this.#regions = new RegionList(options)
  }

  /** What was seen of each kernel, in the order in which they ran. */
  get kernels(): readonly KernelSeen[] {
    return this.#kernels
  }

  get #seen(): KernelNotes {
    return this.#kernels.at(-1)!
  }

  /** Faults of the platform that never happened. */
  get unmetFaults(): readonly Fault[] {
    return this.#seam.unmetFaults
  }

  /** Where a CPU is in the kernel's own code, that has stopped somewhere. */
  inKernel(rip: bigint): bigint {
    return this.#code?.inKernel(rip) ?? rip
  }

  /** Answers the guest until it is gone or {@link freeze} was called. */
  async run(): Promise<void> {
    const { guest, begun } = this.#options
    if (begun) await this.#goOn()
    else if (!(await this.#begin())) return
    // freeze() may come while a stop is being answered.
    let answered = DONE
    while (!this.#interrupted) {
      // The guest goes on right behind what is written: it need not be told.
      const [stop] = await Promise.all([guest.resume(), answered.written])
      if (stop?.reason !== 'break') {
        if (stop) await this.#code?.note(stop.cpu, this.#seen.trace)
        this.#leave(stop)
        return
      }
      this.#options.onActivity()
      const next = await this.#answer(stop)
      if (!next) {
        this.#options.onUnanswered()
        return
      }
      answered = next
    }
    await answered.written
    this.#interrupted()
  }

  /** From the first call of a guest that was brought there by another. */
  async #goOn(): Promise<void> {
    await this.#plantCalls(this.#options.ledger?.addresses)
    await this.#code?.enter(0)
  }

  /** @returns whether the guest came to where it is to be stopped again */
  async #begin(): Promise<boolean> {
    const { guest, kernel, late, map } = this.#options
    if ((late || map) && kernel.entry !== undefined) {
      await guest.plant(kernel.entry)
      const stop = await guest.resume()
      if (stop?.reason !== 'break') {
        this.#leave(stop)
        return false
      }
      await guest.remove(kernel.entry)
      if (map) await injectE820(guest, stop.cpu, map)
      await this.#patchMapped(stop.cpu)
    } else {
      for (const { physical, bytes } of kernel.patches)
        await guest.writePhysical(physical, bytes)
    }
    await this.#plantFirst()
    return true
  }

  /** At its entry the kernel is mapped, wherever the boot loader has put it. */
  async #patchMapped(cpu: number): Promise<void> {
    const { guest, kernel } = this.#options
    for (const { address, bytes } of kernel.patches)
      await guest.writeVirtual(cpu, address, bytes)
  }

  /** Stops the guest for good, so that its state can be looked at. */
  freeze(): Promise<void> {
    return new Promise(resolve => {
      this.#interrupted = resolve
      this.#options.guest.interrupt()
    })
  }

  #leave(stop: Stop | null): void {
    if (stop) this.#interrupted?.()
  }

  /**
   * MSRs are read before smp_init() and SEAMCALLs are made after it: at no time
   * there are more breakpoints than the four KVM has.
   */
  async #plantFirst(): Promise<void> {
    const { guest, kernel, ledger } = this.#options
    const first =
      kernel.smpInit === undefined
        ? kernel.sites.map(({ address }) => address)
        : [kernel.smpInit, ...this.#sitesOf(isMsrRead)]
    // The v6 series allocates its list before smp_init().
    const allocations = ledger?.addresses ?? []
    await Promise.all(
      [...first, ...allocations].map(address => guest.plant(address)),
    )
  }

  async #atSmpInit(cpu: number, smpInit: bigint): Promise<void> {
    const { guest } = this.#options
    await this.#msrs.takeBackX2apic(cpu)
    await this.#regions.readAtBoot(cpu, this.#seen)
    await Promise.all([
      ...[smpInit, ...this.#sitesOf(isMsrRead)].map(address =>
        guest.remove(address),
      ),
      this.#plantCalls(),
    ])
  }

  /** From smp_init() on. @param others where else it is to be stopped */
  async #plantCalls(others: readonly bigint[] = []): Promise<void> {
    const { guest, kernel, followsKexec } = this.#options
    const { entry } = kernel
    const next = followsKexec && entry !== undefined ? [entry] : []
    await Promise.all(
      [...this.#sitesOf(isCall), ...next, ...others].map(address =>
        guest.plant(address),
      ),
    )
  }

  async #atFirstCall(cpu: number): Promise<void> {
    this.#hasCalled = true
    // Else calls are stopped at from the start, and more may be to come.
    if (this.#options.kernel.smpInit === undefined) return
    if (this.#kernels.length === 1)
      await this.#options.onFirstCall?.(this.#seen)
    await this.#code?.enter(cpu)
  }

  /**
   * The kernel was started again, from a fresh copy: machine_kexec()
   * (arch/x86/kernel/machine_kexec_64.c) keeps nothing of the one before but
   * what the CPUs and the module remember.
   */
  async #atNextKernel(cpu: number, entry: bigint): Promise<void> {
    const { guest, kernel, platform } = this.#options
    await this.#regions.endWait()
    await this.#code?.abandon()
    await Promise.all(
      [entry, ...this.#sitesOf(isCall)].map(address => guest.remove(address)),
    )
    this.#kernels.push(newNotes())
    this.#hasCalled = false
    this.#msrs = new Msrs(guest, kernel, platform)
    if (kernel.physBase !== undefined)
      this.#seen.physBase = await readNumber(guest, cpu, kernel.physBase)
    await this.#patchMapped(cpu)
    await this.#plantFirst()
  }

  #sitesOf(wanted: (site: Site) => boolean): bigint[] {
    return this.#options.kernel.sites
      .filter(wanted)
      .map(({ address }) => address)
  }

  /** @returns undefined when the CPU never goes on */
  async #answer({ cpu }: Stop): Promise<Answered | undefined> {
    const { guest, kernel, ledger } = this.#options
    const stopped = await guest.registers(cpu)
    const rip = await this.#code?.arrive(cpu, stopped.rip, this.#seen.trace)
    const registers = rip === undefined ? stopped : { ...stopped, rip }
    if (registers.rip === kernel.smpInit) {
      await this.#atSmpInit(cpu, registers.rip)
      return DONE
    }
    if (registers.rip === kernel.entry) {
      await this.#atNextKernel(cpu, registers.rip)
      return DONE
    }
    if (await this.#regions.arrive(cpu, registers.rip, this.#seen)) return DONE
    const allocated = await ledger?.answer(cpu, registers)
    if (allocated) return { written: guest.setRegisters(cpu, allocated) }
    const site = kernel.sites.find(known => known.address === registers.rip)
    if (!site) return DONE
    if (isCall(site) && !this.#hasCalled) await this.#atFirstCall(cpu)
    const changes = await this.#execute(cpu, site, registers)
    if (changes === 'never') {
      // Who looks for it finds it at the SEAMCALL.
      await guest.setRegisters(cpu, { rip: site.address })
      return undefined
    }
    const written = guest.setRegisters(
      cpu,
      changes
        ? // An MSR that faults goes on elsewhere.
          { rip: this.#behind(site), ...changes }
        : this.#invalidOpcode(site),
    )
    return { written }
  }

  #behind(site: Site): bigint {
    return this.#code?.behind(site) ?? site.address + BigInt(site.length)
  }

  /** @returns what the instruction changes; undefined for #UD, or `never` */
  async #execute(
    cpu: number,
    site: Site,
    registers: Registers,
  ): Promise<RegisterChanges | 'never' | undefined> {
    switch (site.kind) {
      case 'seamcall':
        return this.#needsVmxon && !this.#vmx.isOn(cpu)
          ? undefined
          : this.#seamcall(cpu, registers)
      case 'vmxon':
        return cpu === this.#options.platform.vmxonFails
          ? undefined
          : this.#vmx.vmxon(cpu, registers)
      case 'vmxoff':
        return this.#vmx.vmxoff(cpu, registers)
      case 'keyid-msr':
      case 'apic-base-msr':
      case 'vmx-basic-msr':
        return this.#readMsr(cpu, site, registers)
    }
  }

  /** The kernel's exception table says where it goes on. */
  #invalidOpcode({ address, symbol }: Site): RegisterChanges {
    const fixup = this.#options.kernel.fixups.get(address)
    if (!fixup)
      throw new InfraError(
        'NO_FIXUP',
        `the instruction in ${symbol} at ${hex(address)} must raise #UD, and the kernel has no entry for it in its exception table`,
      )
    return {
      rip: fixup.address,
      ...(fixup.wantsTrap && { rax: INVALID_OPCODE }),
    }
  }

  /** Else somebody outside of the kernel has turned VMX on: the trigger. */
  get #needsVmxon(): boolean {
    return this.#options.kernel.sites.some(({ kind }) => kind === 'vmxon')
  }

  async #readMsr(
    cpu: number,
    site: Site,
    registers: Registers,
  ): Promise<RegisterChanges> {
    const { guest, kernel } = this.#options
    if (kernel.savedCommandLine !== undefined)
      this.#seen.cmdline ??= await readString(
        guest,
        cpu,
        kernel.savedCommandLine,
      )
    if (site.kind === 'keyid-msr') this.#seen.keyidReads++
    return this.#msrs.read(cpu, site, registers)
  }

  async #seamcall(
    cpu: number,
    registers: Registers,
  ): Promise<RegisterChanges | 'never'> {
    const leaf = leafOf(registers.rax)
    await this.#regions.onCall(cpu, leaf, {
      seen: this.#seen,
      hasBreakpoints: this.#code?.isInstalled !== true,
    })
    const before = this.#seam.offeredTdmrs
    const outcome = await this.#seam.call({ cpu, ...registers })
    // A kernel before this one may have offered others.
    const offered = this.#seam.offeredTdmrs
    if (offered !== before && offered) this.#seen.tdmrs = offered
    this.#seen.trace.push({
      leaf,
      status: outcome.kind === 'completed' ? outcome.status : null,
      cpu,
      rcx: registers.rcx,
      rdx: registers.rdx,
      r8: registers.r8,
    })
    if (outcome.kind === 'hangs') return 'never'
    await this.#code?.answered(cpu, leaf, this.#seen.trace)
    return afterSeamcall(outcome, registers)
  }
}

const isMsrRead = ({ kind }: Site): boolean => kind.endsWith('-msr')
const isCall = (site: Site): boolean => !isMsrRead(site)

const afterSeamcall = (
  outcome: Exclude<SeamcallOutcome, { readonly kind: 'hangs' }>,
  registers: Registers,
): RegisterChanges =>
  outcome.kind === 'vmfail-invalid'
    ? { eflags: vmFailInvalid(registers) }
    : {
        ...outcome.outputs,
        rax: outcome.status,
        eflags: vmSucceed(registers),
      }
