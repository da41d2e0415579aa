import type { FaultEnd } from './fault.ts'
import { LEAF } from './leaves.ts'
import { status } from './status.ts'

/** Registers of a SEAMCALL that host initialisation uses. */
export interface SeamcallInput {
  /** Index of the logical processor that executes it. */
  readonly cpu: number
  readonly rax: bigint
  readonly rcx: bigint
  readonly rdx: bigint
  readonly r8: bigint
  readonly r9: bigint
}

/** Output registers; those not named keep their value. */
export interface Outputs {
  readonly rcx?: bigint
  readonly rdx?: bigint
  readonly r8?: bigint
  readonly r9?: bigint
  readonly r10?: bigint
  readonly r11?: bigint
}

/** How a SEAMCALL ends. VMfailInvalid sets CF and leaves RAX alone. */
export type SeamcallOutcome =
  | { readonly kind: 'vmfail-invalid' }
  /** The CPU never comes back from it. */
  | { readonly kind: 'hangs' }
  | {
      readonly kind: 'completed'
      readonly status: bigint
      readonly outputs: Outputs
    }

/** Success. */
export const done = (outputs: Outputs = {}): SeamcallOutcome => ({
  kind: 'completed',
  status: 0n,
  outputs,
})
export const failed = (
  value: bigint,
  outputs: Outputs = {},
): SeamcallOutcome => ({
  kind: 'completed',
  status: value,
  outputs,
})
export const invalid = (operand: number): SeamcallOutcome =>
  failed(status('OPERAND_INVALID', operand))

/** Outputs that a leaf sets to 0 before it checks anything. */
const ZEROED_FIRST: ReadonlyMap<number, Outputs> = new Map<number, Outputs>([
  [LEAF.SYS_INIT, { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n }],
  [LEAF.SYS_LP_INIT, { rcx: 0n, rdx: 0n, r8: 0n }],
  [LEAF.SYS_INFO, { rdx: 0n, r9: 0n }],
  [LEAF.SYS_TDMR_INIT, { rdx: 0n }],
  [
    LEAF.PHYMEM_PAGE_RDMD,
    { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n },
  ],
])

/** An outcome with those zeroes where the leaf itself set nothing. */
export const zeroed = (
  leaf: number,
  outcome: SeamcallOutcome,
): SeamcallOutcome =>
  outcome.kind === 'completed'
    ? {
        ...outcome,
        outputs: { ...ZEROED_FIRST.get(leaf), ...outcome.outputs },
      }
    : outcome

/** How a call ends that meets a fault. */
export const faulted = (end: FaultEnd): SeamcallOutcome => {
  if (end === 'hangs') return { kind: 'hangs' }
  return end === 'VMfailInvalid' ? { kind: 'vmfail-invalid' } : failed(end)
}
