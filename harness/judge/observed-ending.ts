import type { Facts } from '../console/facts.ts'
import {
  type Outcome,
  STAGES,
  STAGE_OF_LEAF,
  type Stage,
} from '../tdx/outcome.ts'
import type { LedgerRecord } from '../emulate/ledger.ts'
import type { BootRecord, ModuleWitness } from '../machine/record.ts'
import { ERRNO } from '../tdx/errno.ts'
import { LEAF } from '../tdx/leaves.ts'

/** How TDX ended, from all that was seen. */
export interface ObservedEnding {
  readonly outcome: Outcome
  /** Null: there is none, or it was not observed; see {@link errnoSeen}. */
  readonly errno: number | null
  /** Somebody who would have seen an errno was there. */
  readonly errnoSeen: boolean
  /** Null when nothing says it, or several are {@link possible}. */
  readonly stage: Stage | null
  /** Where it may have failed, when that is not one stage. */
  readonly possible: readonly Stage[]
}

/** What the kernel does between SYS.INFO and SYS.CONFIG without a SEAMCALL. */
const BETWEEN: readonly Stage[] = ['tdmrs', 'pamt', 'reserved-areas']

/**
 * What the console says, and where a kernel does not say at what it failed,
 * what the SEAMCALLs say: the first that failed, or what comes after the last.
 * Without a module model to see them, any stage is possible.
 */
export const observeEnding = (
  { tdx, guest }: Pick<Facts, 'tdx' | 'guest'>,
  { witnesses }: Pick<BootRecord, 'witnesses'>,
): ObservedEnding => {
  const { outcome, errno, stage } = tdx
  const ending = { outcome, errno, stage, possible: [] }
  // Only the caller of the initialisation is always told an errno.
  const errnoSeen =
    outcome !== 'failed' || errno !== null || guest.trigger !== null
  // A log that says -ENOMEM alone is taken for the largest: that of a PAMT.
  const lost = stageOfLostAllocation(witnesses.memory?.allocations)
  if (outcome === 'failed' && lost !== undefined)
    return { ...ending, errnoSeen, stage: lost }
  if (outcome !== 'failed' || stage !== null) return { ...ending, errnoSeen }
  return {
    ...ending,
    errnoSeen,
    ...(witnesses.module
      ? stageFromSeamcalls(witnesses.module, errno)
      : { possible: STAGES }),
  }
}

/**
 * What could not be allocated, where that was followed: PAMTs are the only
 * contiguous pages, the array for SYS.CONFIG is the only thing behind them.
 */
const stageOfLostAllocation = (
  ledger: LedgerRecord | null | undefined,
): Stage | undefined => {
  const allocations = ledger?.allocations ?? []
  const lost = allocations.findIndex(({ state }) => state === 'failed')
  if (lost < 0) return undefined
  const { kind } = allocations[lost]!
  if (kind === 'contiguous pages') return 'pamt'
  const behindPamts = allocations
    .slice(0, lost)
    .some(one => one.kind === 'contiguous pages')
  if (behindPamts) return 'sys-config'
  return kind === 'pages' ? 'tdmrs' : 'regions'
}

/** Made when all is over, by a failure or by the power-off. */
const AT_THE_END: ReadonlySet<number> = new Set([
  LEAF.SYS_LP_SHUTDOWN,
  LEAF.SYS_DISABLE,
])

const stageFromSeamcalls = (
  { seamcalls }: ModuleWitness,
  errno: number | null,
): Pick<ObservedEnding, 'stage' | 'possible'> => {
  const tried = seamcalls.filter(({ leaf }) => !AT_THE_END.has(leaf))
  const failed = tried.find(({ status }) => status !== 0n)
  if (failed)
    return { stage: STAGE_OF_LEAF.get(failed.leaf) ?? null, possible: [] }
  const last = tried.at(-1)
  const between = last && STAGE_OF_LEAF.get(last.leaf) === 'sys-info'
  // A module that the kernel does not want; memory ends in other errnos.
  if (between && errno === ERRNO.EINVAL)
    return { stage: 'sys-info', possible: [] }
  return { stage: null, possible: between ? BETWEEN : [] }
}

/** What was seen does not contradict that it failed at this stage. */
export const isAt = (
  { stage, possible }: Pick<ObservedEnding, 'stage' | 'possible'>,
  at: Stage,
): boolean => stage === at || possible.includes(at)

/** What was seen does not contradict this errno. */
export const hasErrno = (
  { errno, errnoSeen }: Pick<ObservedEnding, 'errno' | 'errnoSeen'>,
  expected: number | null,
): boolean => !errnoSeen || errno === expected

/** `failed at pamt|reserved-areas (-14)`, for messages. */
export const describeEnding = ({
  outcome,
  stage,
  errno,
  possible = [],
}: Pick<ObservedEnding, 'outcome' | 'stage' | 'errno'> &
  Partial<Pick<ObservedEnding, 'possible'>>): string => {
  const at = stage && stage !== 'done' ? [stage] : possible
  const stages =
    at.length === STAGES.length
      ? 'a stage that was not observed'
      : STAGES.filter(known => at.includes(known)).join('|')
  return `${outcome}${stages ? ` at ${stages}` : ''}${errno === null ? '' : ` (${errno})`}`
}

/** The kernel panicked: what it did not reach is no finding of its own. */
export const panicked = ({ incidents }: Pick<Facts, 'incidents'>): boolean =>
  incidents.some(({ kind }) => kind === 'panic')
