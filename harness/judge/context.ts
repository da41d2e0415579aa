import type { BootRecord, BootableKernel } from '../machine/machine.ts'
import type { Case } from '../scenario/case.ts'
import type { Expectation } from '../scenario/expectation.ts'
import type { Layout } from '../memory/predict.ts'
import type { Prediction } from './prediction.ts'

/** `pass` and the ways not to. */
export const VERDICTS = ['pass', 'fail', 'invalid', 'error', 'skip'] as const
export type Verdict = (typeof VERDICTS)[number]

/** One thing that is not as it must be. */
export interface Reason {
  /**
   * `invalid`: the boot does not prove that what was asked took effect.
   * `fail`: the kernel did not do what it must.
   */
  readonly kind: 'invalid' | 'fail'
  /** What was looked at. */
  readonly check: string
  /** What was expected, what was found, and where they differ. */
  readonly message: string
  readonly expected?: string
  readonly found?: string
}

/** Where the predicted layout comes from. */
export type Basis = 'machine' | 'console'

/** What of a case is judged. */
export type JudgedCase = Pick<
  Case,
  'expect' | 'expectOn' | 'machine' | 'platform' | 'words' | 'steps'
>

/** What of a kernel matters to a judge. */
export type JudgedKernel = Pick<
  BootableKernel,
  'series' | 'printsRegions' | 'failsRegions'
>

/** All there is to judge a boot by. */
export interface Context {
  readonly item: JudgedCase
  readonly kernel: JudgedKernel
  /** What the case must show on this kernel. */
  readonly expect: Expectation
  readonly prediction: Prediction
  /** The predicted layout; from the console where the model does not follow. */
  readonly layout: Layout
  readonly basis: Basis
  readonly record: BootRecord
}

export type Check = (context: Context) => Reason[]
