import type { Facts } from '../console/facts.ts'
import { type AskedMemory, askedMemory } from './asked-memory.ts'
import { noTdx } from './hardware.ts'
import { type Advice, adviceOn } from './advice/advice.ts'
import {
  type LogPrediction,
  predictFromLog,
  recognised,
} from './log-prediction.ts'
import { showsMemory } from './log-map.ts'
import { type PlatformFinding, platformFindings } from './platform.ts'
import type { RecognisedLog } from '../tdx/series/recognise.ts'

/** What a boot in a log came to, and why. */
export interface Explanation extends Advice {
  readonly facts: Facts
  /** What the kernel is taken for; undefined: it said nothing about TDX. */
  readonly recognised: RecognisedLog | undefined
  /** Memory parameters of the command line, and whether they took effect. */
  readonly asked: readonly AskedMemory[]
  /** What tools say of the firmware's part. */
  readonly platform: readonly PlatformFinding[]
  /** Why the machine cannot have TDX, whatever its memory; null: it may. */
  readonly noTdx: string | null
  /** What the model says of the same machine; null: the log has no map. */
  readonly prediction: LogPrediction | null
}

/** Explains one boot of a log. */
export const explain = (facts: Facts): Explanation => {
  const { outcome, guest } = facts.tdx
  // A guest builds no TDMRs.
  const prediction = showsMemory(facts) && !guest ? predictFromLog(facts) : null
  return {
    facts,
    asked: askedMemory(facts),
    platform: platformFindings(facts),
    noTdx: noTdx(facts)?.why ?? null,
    recognised: outcome === 'absent' || guest ? undefined : recognised(facts),
    prediction,
    ...adviceOn(facts, prediction ?? undefined),
  }
}
