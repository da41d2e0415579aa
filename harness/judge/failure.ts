import type { Stage } from '../tdx/outcome.ts'
import type { PredictedOutcome } from './predicted-ending.ts'

/** A step that must fail, or of which that is not known. */
export type Failure =
  | (Omit<PredictedOutcome, 'outcome'> & {
      readonly stage: Stage
      /** The kernel prints nothing of the SEAMCALL; default: it does. */
      readonly unsaid?: boolean
    })
  | { readonly stage: Stage; readonly open: string }

export const failure = (
  stage: Stage,
  errno: number | null,
  why: string,
): Failure => ({
  stage,
  errno,
  why,
})
