import type { Facts } from '../console/facts.ts'
import type { SeamcallTrace } from '../emulate/emulation.ts'
import type { KernelSites } from '../emulate/kernel-sites.ts'
import type { KernelImage } from '../kernel/elf.ts'
import type { NodeRange } from '../memory/range.ts'
import type { MachineSpec } from '../scenario/machine-spec.ts'
import type { Step } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'
import type { Fault, Platform } from '../tdx/platform.ts'
import type { TdmrInfo } from '../tdx/tdmr-info.ts'

/** A kernel that can be booted, with what was looked up in it once. */
export interface BootableKernel {
  readonly name: string
  readonly image: KernelImage
  readonly sites: KernelSites
  /** What is started: the image itself where it has PVH, else a bzImage. */
  readonly bootFile: string
  /** Undefined: a series the model does not know: how TDX ends is not predicted. */
  readonly series: Series | undefined
  /** `6.12.117`; undefined when the image does not say. */
  readonly release: string | undefined
  /** It prints the region list when it has built it. */
  readonly printsRegions: boolean
  /** It takes tdx_fail_region=, which makes the list fail. */
  readonly failsRegions: boolean
}

/** Everything a machine needs for one boot. */
export interface BootPlan {
  readonly kernel: BootableKernel
  readonly machine: MachineSpec
  readonly platform: Platform
  /** Kernel parameters of the scenario; the machine adds its own. */
  readonly words: readonly string[]
  /** What happens once the kernel is up; init in the initramfs knows them. */
  readonly steps: readonly Step[]
  readonly initramfs: string
  /** Private folder of this boot; the console is written there. */
  readonly directory: string
}

/** What the guest's ACPI code said about a DIMM that was plugged. */
export interface PlugResult {
  readonly name: string
  /** _OST status code: 0 when the kernel added the memory (ACPI 6.3.5). */
  readonly status: number
}

/** Why a boot was over. */
export type EndReason =
  /** The trigger reported, or the kernel panicked: nothing more can come. */
  | 'settled'
  /** The guest powered off or the machine stopped by itself. */
  | 'exited'
  | 'reset'
  /** No sign of life for the whole silence deadline. */
  | 'silence'
  | 'deadline'

/** Where a vCPU was when a boot hung. */
export interface StuckCpu {
  readonly cpu: number
  readonly rip: bigint
  readonly symbol: string | undefined
}

/** What a boot left behind. */
export interface BootRecord {
  readonly end: EndReason
  readonly facts: Facts
  /** The command line as it was asked for. */
  readonly cmdline: string
  /**
   * `saved_command_line` read from the kernel's memory; undefined when the
   * kernel did not get that far.
   */
  readonly effectiveCmdline: string | undefined
  /** How often the kernel read MSR 0x87 and was answered by us. */
  readonly keyidReads: number
  readonly seamcalls: readonly SeamcallTrace[]
  /** Faults of the platform that no SEAMCALL met. */
  readonly unmetFaults: readonly Fault[]
  /** The region list read from the kernel's memory; undefined if never seen. */
  readonly regions: readonly NodeRange[] | undefined
  /** The same list right after the early initcalls. */
  readonly regionsAtBoot: readonly NodeRange[] | undefined
  /** DIMMs that were plugged, and what the kernel said to each. */
  readonly plugged: readonly PlugResult[]
  /** The TDMRs given to TDH.SYS.CONFIG; undefined if it was not called. */
  readonly tdmrs: readonly TdmrInfo[] | undefined
  readonly stuck: readonly StuckCpu[]
  readonly timing: {
    /** Milliseconds from the start of the machine to its end. */
    readonly total: number
    /** To the first byte of the console; null when there was none. */
    readonly firstByte: number | null
  }
  /** Raw console bytes. */
  readonly consolePath: string
  /** `milliseconds offset length` of each chunk of the console. */
  readonly timesPath: string
  /** The program and its arguments, to start the same machine by hand. */
  readonly argv: readonly string[]
  /** Last lines of the console, for reports. */
  readonly tail: readonly string[]
}

/** Something that boots a kernel: an emulator, a host, a saved console. */
export interface Machine {
  /** What was chosen and why, for people. */
  readonly description: string
  /**
   * Boots until the result is settled.
   *
   * @throws InfraError when the machine itself fails
   */
  boot(plan: BootPlan, signal: AbortSignal): Promise<BootRecord>
}
