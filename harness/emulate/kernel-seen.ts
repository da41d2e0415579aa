import type { NodeRange } from '../memory/range.ts'
import type { TdmrInfo } from '../tdx/tdmr-info.ts'

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

/**
 * What the emulation saw of one kernel. The kernel that it starts with kexec is
 * another one: memory and phases begin anew, and the module goes on.
 */
export interface KernelSeen {
  readonly trace: readonly SeamcallTrace[]
  /** The command line as the kernel keeps it. */
  readonly cmdline: string | undefined
  /** How often it read MSR 0x87. */
  readonly keyidReads: number
  /** `tdx_memlist` as it was when the kernel began to use it. */
  readonly regions: readonly NodeRange[] | undefined
  /** `tdx_memlist` after the early initcalls; undefined when never seen. */
  readonly regionsAtBoot: readonly NodeRange[] | undefined
  /** The TDMRs it gave to TDH.SYS.CONFIG. */
  readonly tdmrs: readonly TdmrInfo[] | undefined
  /** The physical address it runs at, less the one it was linked for. */
  readonly physBase: number | undefined
}

/** The same, while it is written down. */
export interface KernelNotes {
  readonly trace: SeamcallTrace[]
  cmdline: string | undefined
  keyidReads: number
  regions: readonly NodeRange[] | undefined
  regionsAtBoot: readonly NodeRange[] | undefined
  tdmrs: readonly TdmrInfo[] | undefined
  physBase: number | undefined
}

/** What was seen of a kernel before it called VMX or the TDX module. */
export type EarlyNotes = Pick<
  KernelSeen,
  'cmdline' | 'keyidReads' | 'regionsAtBoot'
>

const NOTHING_YET: EarlyNotes = {
  cmdline: undefined,
  keyidReads: 0,
  regionsAtBoot: undefined,
}

export const newNotes = ({
  cmdline,
  keyidReads,
  regionsAtBoot,
} = NOTHING_YET): KernelNotes => ({
  trace: [],
  cmdline,
  keyidReads,
  regions: undefined,
  regionsAtBoot,
  tdmrs: undefined,
  physBase: undefined,
})
