import type { MemoryRules } from '../../memory/rules.ts'
import type { LeafName } from '../leaves.ts'
import type { Outcome, Stage } from '../outcome.ts'

/** Who initialises the TDX module on a kernel, and through which functions. */
export const TRIGGER_KINDS = [
  /** The trigger module: tdx_cpu_enable() on each CPU, then tdx_enable(). */
  'tdx_cpu_enable, tdx_enable',
  /** The trigger module: tdx_enable() alone, which goes to all CPUs itself. */
  'tdx_enable',
  /** The kernel itself, while it boots. */
  'at boot',
  /** Nothing that a module could call. */
  'none',
] as const
export type TriggerKind = (typeof TRIGGER_KINDS)[number]

/** Defects of kernels that random layouts meet; fuzz/known-issues.ts has them. */
export type DefectName =
  | 'memory without a node'
  | 'a real node without a fake one'
  | 'too many nodes, real and fake'
  | 'CPUs on nodes that are not the fake ones'
  | 'CPUs of a package on several fake nodes'

/**
 * A series of kernels that drives the TDX module in one way. Everything that
 * is particular to a series stands in its file in this folder; a new series is
 * one more file, and one more row in index.ts.
 */
export interface Series {
  /** As scenarios (`expect.on`), recipes and JSON documents spell it. */
  readonly name: string
  /** For people, in the middle of a sentence: `Linux 6.8 to 6.15`. */
  readonly title: string
  /** What sets it apart, for `kernel check`. */
  readonly summary: string
  /**
   * Versions of Linux it is in, half-open, as `major * 1000 + minor`; see
   * {@link linuxVersion} in recognise.ts.
   */
  readonly versions: { readonly first: number; readonly end: number }
  /** How it is recognised. */
  readonly marks: {
    /** Format strings that together no other series has in its image. */
    readonly imageTexts: readonly string[]
    /** What pr_fmt() puts before its messages. */
    readonly logPrefix: string
  }
  /** Who initialises TDX. */
  readonly trigger: TriggerKind
  /** The shipped kernel that does what this series does. */
  readonly shippedKernel:
    | {
        readonly name: string
        /** It takes tdx_fail_region=, of our own patches. */
        readonly failsRegions: boolean
      }
    | undefined
  /** Rules of memory set-up of the shipped kernel. */
  readonly memoryRules: MemoryRules
  /**
   * What may be different from {@link memoryRules} in some of its versions;
   * undefined: they are those of all of them.
   */
  readonly otherRules:
    { readonly before: number; readonly note: string } | undefined
  /** When the list of TDX memory regions is built. */
  readonly listBuilt: 'at boot' | 'at initialisation'
  /** Leaves that may be called before the list exists. */
  readonly leavesBeforeList: ReadonlySet<LeafName>
  /**
   * tdx_init() wants hibernation to be off for good: not configured, or
   * `nohibernate` (hibernation_available(), kernel/power/hibernate.c).
   */
  readonly excludesHibernation: boolean
  /** Fields of the module's metadata that it reads; it fails without one. */
  readonly metadata: readonly bigint[]
  /** CPUID leaves it has room for; undefined: it does not ask for them. */
  readonly maxCpuidConfigs: number | undefined
  /** Bits of TDX_FEATURES0 without which it refuses a module. */
  readonly neededFeatures: bigint
  /** What it says when the firmware gives TDX no KeyID. */
  readonly withoutKeyids: {
    readonly outcome: Outcome
    readonly stage: Stage | null
  }
  /** It turns VMX on itself; without VMX it does not begin. */
  readonly needsVmx: boolean
  /** Stages that fail without an errno that anybody is told. */
  readonly silentStages: readonly Stage[]
  /** It has a device that updates the module at run time. */
  readonly updatesModule: boolean
  /** It calls TDH.SYS.DISABLE before it starts another kernel. */
  readonly disablesModule: boolean
  /** Leaves the initialisation calls. */
  readonly leaves: ReadonlySet<LeafName>
  /** Without x2APIC it disables TDX. */
  readonly needsX2apic: boolean
  /** -ENODEV of any leaf is taken for a module that is not loaded. */
  readonly enodevIsNoModule: boolean
  /** What it makes of an exception at a SEAMCALL; CF is always -ENODEV. */
  readonly exceptionErrno: { readonly gp: number; readonly ud: number }
  /** It calls again when the module is short of entropy. */
  readonly retriesEntropy: boolean
  /** It says of a machine check when TDX private memory caused it. */
  readonly explainsMachineChecks: boolean
  /**
   * After a failure from TDH.SYS.KEY.CONFIG on it converts PAMTs back to normal
   * memory with MOVDIR64B: always, or on CPUs with the erratum of poisoned
   * memory (the label err_reset_pamts in init_tdx_module()).
   */
  readonly resetsPamts: 'always' | 'with the erratum' | 'never'
  /** It prints a line for a SEAMCALL that failed. */
  readonly reportsSeamcalls: boolean
  /** What it calls CMRs that it found to be in order; undefined: it prints none. */
  readonly checkedCmrName: string | undefined
  /** It prints the convertible memory regions that it read. */
  readonly printsCmrs: boolean
  /** Its memory notifier refuses memory that is not in the list. */
  readonly refusesHotAddedMemory: boolean
  /** It checks itself that each region lies in one CMR; touching ones are two. */
  readonly checksCmrs: boolean
  /** It refuses to begin while a CPU is offline. */
  readonly needsAllCpus: boolean
  /**
   * What it returns when it is asked again after it has failed; undefined: what
   * it returned then.
   */
  readonly errnoAfterFailure: number | undefined
  /** What the initialisation makes of an errno inside; undefined: it stays. */
  readonly maskedErrno: number | undefined
  /** Defects of its kernels that are known, and that nobody has mended. */
  readonly knownDefects: readonly DefectName[]
}
