import type { FailedSeamcall, Facts } from '../../console/facts.ts'
import { STAGE_OF_LEAF } from '../../tdx/outcome.ts'
import { kernelWords } from '../../memory/cmdline.ts'
import { type StatusName, statusName } from '../../tdx/status.ts'
import { FAILURES } from './failed.ts'
import type { Known, Subject } from './subject.ts'
import { GENERAL } from './general.ts'
import { NO_SUCCESS } from './not-tried.ts'
import type { LogPrediction } from '../log-prediction.ts'
import { type GivenUp, usableToGiveUp } from './workaround.ts'

/** The likely cause, and what to do about it. */
export interface Advice {
  /** Null where there is nothing to explain. */
  readonly cause: string | null
  readonly advice: readonly string[]
  /** Parameters with which it initialises by the model; null: none known. */
  readonly workaround: GivenUp | null
}

/** Of a more special case the general one below it is not told. */
const KNOWN: readonly Known[] = [...FAILURES, ...NO_SUCCESS]

/** Explains the outcome of a boot in plain words. */
export const adviceOn = (
  facts: Facts,
  prediction: LogPrediction | undefined,
): Advice => {
  const seamcall = decisiveSeamcall(facts)
  const workaround =
    prediction && facts.tdx.stage === 'reserved-areas'
      ? usableToGiveUp(facts, prediction)
      : undefined
  const subject: Subject = {
    facts,
    prediction,
    seamcall,
    workaround,
    words: kernelWords(facts.cmdline ?? ''),
    status: seamcall && (statusName(seamcall.status) as StatusName),
  }
  const known = KNOWN.find(({ applies }) => applies(subject))
  const general = GENERAL.filter(({ applies }) => applies(subject))
  return {
    cause: known ? valueOf(known.cause, subject) : null,
    advice: [...(known ? [known] : []), ...general].flatMap(({ advice }) =>
      valueOf(advice, subject),
    ),
    workaround: workaround ?? null,
  }
}

const valueOf = <T>(
  value: T | ((subject: Subject) => T),
  subject: Subject,
): T => (value instanceof Function ? value(subject) : value)

/** The last one of the initialisation, if that is what failed. */
export const decisiveSeamcall = ({ tdx }: Facts): FailedSeamcall | undefined =>
  tdx.outcome === 'failed'
    ? tdx.failedSeamcalls.findLast(
        ({ leaf }) => STAGE_OF_LEAF.get(leaf) === tdx.stage,
      )
    : undefined
