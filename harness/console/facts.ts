import type { NodeRange, Range } from '../memory/range.ts'
import type { MemoryFacts } from './memory-reader.ts'
import type { Incident } from './oops.ts'
import type { Outcome, Stage } from './outcome.ts'

/** A SEAMCALL the kernel reported as failed. */
export interface FailedSeamcall {
  readonly leaf: number
  readonly status: bigint
  readonly line: number
}

/** The one line our trigger module prints. */
export interface TriggerResult {
  readonly cpus: number
  /**
   * Return value of the first tdx_cpu_enable() that failed, or 0; null when
   * the kernel has no such function.
   */
  readonly cpuEnable: number | null
  readonly failedCpu: number | null
  /** Return value of tdx_enable(); null when it was not called. */
  readonly enable: number | null
}

/** What the rig's init says about a step it went through. */
export type StepReport =
  /** It waits for a DIMM to be plugged. */
  | { readonly step: number; readonly kind: 'plug' }
  /** How many memory blocks the kernel made of the DIMM. */
  | { readonly step: number; readonly kind: 'plugged'; readonly blocks: number }
  | {
      readonly step: number
      readonly kind: 'online'
      /** Memory blocks that were tried, and that the kernel refused. */
      readonly blocks: number
      readonly refused: number
      /** Of the last refusal; 0 when there was none. */
      readonly errno: number
    }

/** What the console says about TDX, as one outcome. */
export interface TdxFacts {
  readonly outcome: Outcome
  readonly stage: Stage | null
  /** The kernel's negative error number; null when the log names none. */
  readonly errno: number | null
  /** Private KeyIDs `[start, end)`. */
  readonly keyids: readonly [number, number] | null
  readonly pamtKib: number | null
  /** The TDMR or region a failure names. */
  readonly failedRange: Range | null
  /** The line that decided the outcome. */
  readonly message: string | null
  /** The last line about TDX that the catalogue knows. */
  readonly lastMessage: string | null
  readonly failedSeamcalls: readonly FailedSeamcall[]
  /** TDX memory regions; null when the kernel prints none. */
  readonly regions: readonly NodeRange[] | null
  /** How many regions there are, from the line behind them. */
  readonly regionCount: number | null
  /** CMRs as the kernel read them; null when it prints none. */
  readonly cmrs: readonly Range[] | null
  /** What it calls them: `Kernel-checked-CMR`, or `BIOS-CMR` for bad ones. */
  readonly cmrName: string | null
  /** TDX lines that the catalogue does not know. */
  readonly unknown: readonly string[]
}

/** Everything that was read from one console. */
export interface Facts extends MemoryFacts {
  readonly kernel: string | null
  readonly cmdline: string | null
  readonly tdx: TdxFacts
  readonly trigger: TriggerResult | null
  /** Steps of the boot that init has reported on, in order. */
  readonly steps: readonly StepReport[]
  /** init went through all steps. */
  readonly stepsDone: boolean
  /** Complaints of the rig's own init. */
  readonly initErrors: readonly string[]
  readonly incidents: readonly Incident[]
  /** How often a kernel began: a log may hold several boots. */
  readonly boots: number
  readonly lines: number
}
