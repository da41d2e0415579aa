import type { Facts } from '../console/facts.ts'
import { type Advice, adviceOn } from './advice/advice.ts'
import {
  type LogPrediction,
  predictFromLog,
  recognised,
} from './log-prediction.ts'
import type { RecognisedLog } from '../tdx/series/recognise.ts'

/** What a boot in a log came to, and why. */
export interface Explanation extends Advice {
  readonly facts: Facts
  /** What the kernel is taken for; undefined: it said nothing about TDX. */
  readonly recognised: RecognisedLog | undefined
  /** What the model says of the same machine; null: the log has no map. */
  readonly prediction: LogPrediction | null
}

/** A map has more entries than this, or is not one. */
const SMALLEST_MAP = 2

/** Explains one boot of a log. */
export const explain = (facts: Facts): Explanation => {
  const prediction =
    facts.firmwareMap.length < SMALLEST_MAP ? null : predictFromLog(facts)
  const { outcome, guest } = facts.tdx
  return {
    facts,
    recognised: outcome === 'absent' || guest ? undefined : recognised(facts),
    prediction,
    ...adviceOn(facts, prediction ?? undefined),
  }
}
