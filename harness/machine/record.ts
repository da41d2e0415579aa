import type { SeamcallTrace } from '../emulate/kernel-seen.ts'
import type { LedgerRecord } from '../emulate/ledger.ts'
import type { NodeRange } from '../memory/range.ts'
import type { Fault } from '../tdx/fault.ts'
import type { TdmrInfo } from '../tdx/tdmr-info.ts'

/**
 * Who may have seen something of a boot. A machine has some of them; what one
 * of them would have seen is not known where it is absent.
 */
export const WITNESS_NAMES = ['console', 'memory', 'module', 'steps'] as const
export type WitnessName = (typeof WITNESS_NAMES)[number]

/** Files with what the kernel printed. */
export interface ConsoleFiles {
  /** Raw console bytes. */
  readonly path: string
  /** `milliseconds offset length` of each piece; null: times are not known. */
  readonly timesPath: string | null
  /** It came over a serial line without flow control: characters may be lost. */
  readonly lossy: boolean
}

/** What was read from the kernel's memory while it ran. */
export interface MemoryWitness {
  /** The region list when the initialisation used it; null: it never did. */
  readonly regions: readonly NodeRange[] | null
  /** The same list right after the early initcalls; null: never reached. */
  readonly regionsAtBoot: readonly NodeRange[] | null
  /** What TDX host support allocated; null: nobody followed it. */
  readonly allocations: LedgerRecord | null
  /** `saved_command_line`; null when the kernel did not get that far. */
  readonly cmdline: string | null
}

/** What the TDX module, and the CPU around it, were asked. */
export interface ModuleWitness {
  readonly seamcalls: readonly SeamcallTrace[]
  /** The TDMRs given to TDH.SYS.CONFIG; null if it was not called. */
  readonly tdmrs: readonly TdmrInfo[] | null
  /** How often the kernel read MSR 0x87. */
  readonly keyidReads: number
  /** Faults of the platform that no SEAMCALL met. */
  readonly unmetFaults: readonly Fault[]
}

/** What the guest's ACPI code said about a DIMM that was plugged. */
export interface PlugResult {
  readonly name: string
  /** _OST status code: 0 when the kernel added the memory (ACPI 6.3.5). */
  readonly status: number
}

/**
 * The rig's own init went through the steps of the case. Its reports are on
 * the console; here is what the machine saw of them.
 */
export interface StepsWitness {
  /** DIMMs that were plugged, and what the kernel said to each. */
  readonly plugged: readonly PlugResult[]
}

/** What each witness has to say. */
export interface Testimony {
  readonly console: ConsoleFiles
  readonly memory: MemoryWitness
  readonly module: ModuleWitness
  readonly steps: StepsWitness
}

/** Why a boot was over. */
export const END_REASONS = [
  /**
   * All steps were done, or the kernel panicked: nothing more can come; or the
   * boot was to end when TDX is initialised, and has no witness for steps.
   */
  'settled',
  /** The guest powered off or the machine stopped by itself. */
  'exited',
  'reset',
  /** No sign of life for the whole silence deadline. */
  'silence',
  'deadline',
  /** The last SEAMCALL never returns: what the kernel does then is nothing. */
  'unanswered',
] as const
export type EndReason = (typeof END_REASONS)[number]

/** Where a vCPU was when a boot hung. */
export interface StuckCpu {
  readonly cpu: number
  readonly rip: bigint
  readonly symbol: string | null
}

/** What was seen of a kernel that another one started with kexec. */
export interface NextRecord {
  /** The command line it was given. */
  readonly cmdline: string
  /** Null: it never came to its entry, or nobody looked. */
  readonly memory: MemoryWitness | null
  readonly module: ModuleWitness | null
  /**
   * How far above the address it was linked for it runs: where kexec put it;
   * null: not known.
   */
  readonly physBase: number | null
}

/** What a boot left behind. */
export interface BootRecord {
  readonly end: EndReason
  /** Where each CPU was; empty unless the boot hung. */
  readonly stuck: readonly StuckCpu[]
  readonly timing: {
    /** Milliseconds from the start of the machine to its end. */
    readonly total: number
    /** To the first byte of the console; null when there was none. */
    readonly firstByte: number | null
  }
  /** How it was started. */
  readonly start: {
    /** The command line as it was asked for. */
    readonly cmdline: string
    /** The program and its arguments, to start the same machine by hand. */
    readonly argv: readonly string[]
    /**
     * It went on from a snapshot of the same machine, in front of its first
     * SEAMCALL; default: it began at the firmware.
     */
    readonly snapshot?: boolean | undefined
  }
  /** Null: the machine has no such witness. Of the first kernel. */
  readonly witnesses: {
    readonly [Name in WitnessName]: Testimony[Name] | null
  }
  /** Of the kernel that a kexec step starts; undefined: no such step. */
  readonly next?: NextRecord | undefined
}

/** The witnesses of a boot, in their usual order. */
export const witnessesOf = ({
  witnesses,
}: Pick<BootRecord, 'witnesses'>): WitnessName[] =>
  WITNESS_NAMES.filter(name => witnesses[name] !== null)
