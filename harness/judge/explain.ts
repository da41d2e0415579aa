import type { Facts } from '../console/facts.ts'
import { type Advice, adviceOn } from './advice/advice.ts'
import { type LogPrediction, predictFromLog } from './log-prediction.ts'

/** What a boot in a log came to, and why. */
export interface Explanation extends Advice {
  readonly facts: Facts
  /** What the model says of the same machine; null: the log has no map. */
  readonly prediction: LogPrediction | null
}

/** A map has more entries than this, or is not one. */
const SMALLEST_MAP = 2

/** Explains one boot of a log. */
export const explain = (facts: Facts): Explanation => {
  const prediction =
    facts.firmwareMap.length < SMALLEST_MAP ? null : predictFromLog(facts)
  return { facts, prediction, ...adviceOn(facts, prediction ?? undefined) }
}
