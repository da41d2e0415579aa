import type { KernelImage } from '../kernel/elf.ts'
import type { NodeRange } from '../memory/range.ts'
import { LEAF } from '../tdx/leaves.ts'
import { TdxModule } from '../tdx/module.ts'
import {
  type Fault,
  type Platform,
  keyidPartitioning,
} from '../tdx/platform.ts'
import type { SeamcallOutcome } from '../tdx/seamcall.ts'
import type { TdmrInfo } from '../tdx/tdmr-info.ts'
import type { Debugger, RegisterChanges, Registers, Stop } from './debugger.ts'
import { readMemlist, readString } from './memlist.ts'
import { type Patch, findPatches } from './patches.ts'
import { type InstructionKind, type Site, findSites } from './sites.ts'

/** One SEAMCALL, as it was executed and answered. */
export interface SeamcallTrace {
  readonly leaf: number
  /** Completion status; null for VMfailInvalid. */
  readonly status: bigint | null
  readonly cpu: number
  readonly rcx: bigint
  readonly rdx: bigint
  readonly r8: bigint
}

/** What of a kernel the emulation needs to know; the same for every boot. */
export interface KernelSites {
  readonly sites: readonly Site[]
  /** Virtual address of the list of TDX memory regions. */
  readonly memlist: bigint | undefined
  /** Address of the pointer `saved_command_line` (init/main.c). */
  readonly savedCommandLine: bigint | undefined
  readonly patches: readonly Patch[]
  /** Where breakpoints can be planted once the kernel is mapped. */
  readonly startKernel: bigint | undefined
}

/** @throws UsageError when the image has no TDX host support */
export const locate = async (image: KernelImage): Promise<KernelSites> => ({
  sites: await findSites(image),
  memlist: image.symbol('tdx_memlist')?.address,
  savedCommandLine: image.symbol('saved_command_line')?.address,
  patches: await findPatches(image),
  startKernel: image.symbol('start_kernel')?.address,
})

export interface EmulationOptions {
  readonly guest: Debugger
  readonly kernel: KernelSites
  readonly platform: Platform
  /**
   * Plant the breakpoints at start_kernel() and not before: KVM cannot write
   * them into code that is not mapped yet.
   */
  readonly lateBreakpoints: boolean
  /** Called at every stop: the guest is alive. */
  readonly onActivity: () => void
}

const CARRY = 1n
/** CF, PF, AF, ZF, SF and OF: what VMX instructions clear when they succeed. */
const VMX_FLAGS = 0x8d5n

/** Puts the TDX module model behind a guest. */
export class Emulation {
  readonly #options: EmulationOptions
  readonly #module: TdxModule
  readonly #trace: SeamcallTrace[] = []
  #regions: NodeRange[] | undefined
  #cmdline: string | undefined
  #keyidReads = 0
  #interrupted: (() => void) | undefined

  constructor(options: EmulationOptions) {
    this.#options = options
    const { guest, platform } = options
    this.#module = new TdxModule(platform, {
      read: (address, length) => guest.readPhysical(address, length),
      write: (address, bytes) => guest.writePhysical(address, bytes),
    })
  }

  get trace(): readonly SeamcallTrace[] {
    return this.#trace
  }

  /** The command line as the kernel keeps it. */
  get cmdline(): string | undefined {
    return this.#cmdline
  }

  get keyidReads(): number {
    return this.#keyidReads
  }

  /** `tdx_memlist` as it was when the kernel began to use it. */
  get regions(): readonly NodeRange[] | undefined {
    return this.#regions
  }

  /** Faults of the platform that never happened. */
  get unmetFaults(): readonly Fault[] {
    return this.#module.unmetFaults
  }

  /** The TDMRs the kernel gave to TDH.SYS.CONFIG. */
  get tdmrs(): readonly TdmrInfo[] | undefined {
    return this.#module.offeredTdmrs
  }

  /** Answers the guest until it is gone or {@link freeze} was called. */
  async run(): Promise<void> {
    const { guest, kernel, lateBreakpoints } = this.#options
    for (const { address, bytes } of kernel.patches)
      await guest.writePhysical(address, bytes)
    if (lateBreakpoints && kernel.startKernel !== undefined) {
      await guest.plant(kernel.startKernel)
      const stop = await guest.resume()
      if (stop?.reason !== 'break') {
        this.#leave(stop)
        return
      }
      await guest.remove(kernel.startKernel)
    }
    await Promise.all(kernel.sites.map(site => guest.plant(site.address)))
    // freeze() may come while a stop is being answered.
    while (!this.#interrupted) {
      const stop = await guest.resume()
      if (stop?.reason !== 'break') {
        this.#leave(stop)
        return
      }
      this.#options.onActivity()
      await this.#answer(stop)
    }
    this.#interrupted()
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

  async #answer({ cpu }: Stop): Promise<void> {
    const { guest, kernel } = this.#options
    const registers = await guest.registers(cpu)
    const site = kernel.sites.find(known => known.address === registers.rip)
    if (!site) return
    const changes = await this.#execute[site.kind](cpu, registers)
    await guest.setRegisters(cpu, {
      ...changes,
      rip: registers.rip + BigInt(site.length),
    })
  }

  readonly #execute: Readonly<
    Record<
      InstructionKind,
      (cpu: number, registers: Registers) => Promise<RegisterChanges>
    >
  > = {
    seamcall: (cpu, registers) => this.#seamcall(cpu, registers),
    'keyid-msr': cpu => this.#readKeyids(cpu),
  }

  async #readKeyids(cpu: number): Promise<RegisterChanges> {
    const { guest, kernel, platform } = this.#options
    this.#keyidReads++
    if (kernel.savedCommandLine !== undefined)
      this.#cmdline ??= await readString(guest, cpu, kernel.savedCommandLine)
    const value = keyidPartitioning(platform)
    return { rax: value & 0xffffffffn, rdx: value >> 32n }
  }

  async #seamcall(cpu: number, registers: Registers): Promise<RegisterChanges> {
    const leaf = Number(registers.rax & 0xffffn)
    await this.#lookAtRegions(cpu, leaf)
    const outcome = await this.#module.call({ cpu, ...registers })
    this.#trace.push({
      leaf,
      status: outcome.kind === 'completed' ? outcome.status : null,
      cpu,
      rcx: registers.rcx,
      rdx: registers.rdx,
      r8: registers.r8,
    })
    return afterSeamcall(outcome, registers)
  }

  /**
   * The list is complete by the first SEAMCALL after the logical processors
   * were initialised, and may be gone again after a failure.
   */
  async #lookAtRegions(cpu: number, leaf: number): Promise<void> {
    const { guest, kernel } = this.#options
    if (this.#regions || kernel.memlist === undefined) return
    if (leaf === LEAF.SYS_INIT || leaf === LEAF.SYS_LP_INIT) return
    this.#regions = await readMemlist(guest, cpu, kernel.memlist)
  }
}

const afterSeamcall = (
  outcome: SeamcallOutcome,
  { eflags }: Registers,
): RegisterChanges => {
  const cleared = eflags & ~VMX_FLAGS
  return outcome.kind === 'vmfail-invalid'
    ? { eflags: cleared | CARRY }
    : { ...outcome.outputs, rax: outcome.status, eflags: cleared }
}
