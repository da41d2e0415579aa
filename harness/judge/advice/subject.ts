import type { FailedSeamcall, Facts } from '../../console/facts.ts'
import type { StatusName } from '../../tdx/status.ts'
import type { LogPrediction } from '../log-prediction.ts'
import type { GivenUp } from './workaround.ts'

/** What advice is given on. */
export interface Subject {
  readonly facts: Facts
  readonly words: readonly string[]
  /** Undefined where the log shows no memory map. */
  readonly prediction: LogPrediction | undefined
  /** Memory that may be given up so that it works. */
  readonly workaround: GivenUp | undefined
  /** The SEAMCALL that ended the initialisation. */
  readonly seamcall: FailedSeamcall | undefined
  readonly status: StatusName | undefined
}

/** What a known case looks like, why it happens, and what helps. */
export interface Known {
  readonly applies: (subject: Subject) => boolean
  /** The likely cause, in a sentence. */
  readonly cause: string | ((subject: Subject) => string)
  /** What to check or to do, the most likely first. */
  readonly advice: readonly string[] | ((subject: Subject) => readonly string[])
}
