import type { Outcome, Stage } from '../tdx/outcome.ts'
import type { Layout } from '../memory/predict.ts'
import type { Range } from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'

/** How TDX must end on a boot. */
export interface PredictedOutcome {
  readonly outcome: Outcome
  readonly stage: Stage | null
  readonly errno: number | null
  /** The TDMR or region the kernel's message names. */
  readonly range?: Range | undefined
  /** Why, in one sentence. */
  readonly why: string
}

/** How TDX must end, or why that is not known. */
export interface Ending {
  readonly outcome: PredictedOutcome | undefined
  /** Why {@link outcome} is undefined. */
  readonly open: string | undefined
  /** What can come of it, where only that is open. */
  readonly possible?: {
    readonly stages: readonly Stage[]
    readonly initialized: boolean
  }
}

/** What of a case decides how TDX ends. */
export type CaseInput = Pick<
  Case,
  'machine' | 'platform' | 'allocations' | 'words' | 'steps'
>

/** What of it counts beside the layout. */
export type OutcomeInput = Omit<CaseInput, 'machine'>

/** Everything that decides how TDX ends. */
export interface EndingInput {
  readonly item: OutcomeInput
  readonly layout: Layout
  readonly series: Series
  /** The kernel takes tdx_fail_region=. */
  readonly failsRegions: boolean
  /** The kernel has hibernation. */
  readonly hibernates: boolean
}

/**
 * The steps that are done when the module is initialised: none on a kernel that
 * does it as it boots.
 *
 * @returns undefined when nobody initialises it
 */
export const stepsBefore = (
  steps: readonly Step[],
  { trigger }: Pick<Series, 'trigger'>,
): readonly Step[] | undefined => {
  if (trigger === 'at boot') return []
  const at = steps.findIndex(({ kind }) => kind === 'trigger')
  return at < 0 ? undefined : steps.slice(0, at)
}

/** CPUs that steps have taken offline by then. */
export const offlineAtTrigger = (
  steps: readonly Step[],
  series: Pick<Series, 'trigger'>,
): ReadonlySet<number> =>
  new Set(
    stepsBefore(steps, series)?.flatMap(step =>
      step.kind === 'offline' ? [step.cpu] : [],
    ),
  )
