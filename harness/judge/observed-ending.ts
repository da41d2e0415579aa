import {
  type Outcome,
  STAGES,
  STAGE_OF_LEAF,
  type Stage,
} from '../console/outcome.ts'
import type { BootRecord } from '../machine/machine.ts'
import { LEAF } from '../tdx/leaves.ts'

/** How TDX ended, from all that was seen. */
export interface Observed {
  readonly outcome: Outcome
  readonly errno: number | null
  /** Null when nothing says it, or several are {@link possible}. */
  readonly stage: Stage | null
  /** Where it may have failed, when that is not one stage. */
  readonly possible: readonly Stage[]
}

/** What the kernel does between SYS.INFO and SYS.CONFIG without a SEAMCALL. */
const BETWEEN: readonly Stage[] = ['tdmrs', 'pamt', 'reserved-areas']

/**
 * The console's word, and where a kernel does not say at what it failed, the
 * SEAMCALLs: the first that failed, or what comes after the last.
 */
export const observe = ({
  facts: { tdx },
  seamcalls,
}: Pick<BootRecord, 'facts' | 'seamcalls'>): Observed => {
  const { outcome, errno, stage } = tdx
  const known = (at: Stage | null): Observed => ({
    outcome,
    errno,
    possible: [],
    stage: at,
  })
  if (outcome !== 'failed' || stage !== null) return known(stage)
  const tried = seamcalls.filter(({ leaf }) => leaf !== LEAF.SYS_LP_SHUTDOWN)
  const failed = tried.find(({ status }) => status !== 0n)
  if (failed) return known(STAGE_OF_LEAF.get(failed.leaf) ?? null)
  const last = tried.at(-1)
  return last && STAGE_OF_LEAF.get(last.leaf) === 'sys-info'
    ? { ...known(null), possible: BETWEEN }
    : known(null)
}

/** What was seen does not contradict that it failed at this stage. */
export const isAt = ({ stage, possible }: Observed, at: Stage): boolean =>
  stage === at || possible.includes(at)

/** `failed at pamt|reserved-areas (-14)`, for messages. */
export const describe = ({
  outcome,
  stage,
  errno,
  possible = [],
}: Pick<Observed, 'outcome' | 'stage' | 'errno'> &
  Partial<Pick<Observed, 'possible'>>): string => {
  const at = stage && stage !== 'done' ? [stage] : possible
  const stages = STAGES.filter(known => at.includes(known)).join('|')
  return `${outcome}${stages ? ` at ${stages}` : ''}${errno === null ? '' : ` (${errno})`}`
}

/** The kernel died: what it did not come to is no finding of its own. */
export const panicked = ({ facts }: Pick<BootRecord, 'facts'>): boolean =>
  facts.incidents.some(({ kind }) => kind === 'panic')
