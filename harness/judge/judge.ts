import type { BootRecord } from '../machine/machine.ts'
import { mergeNodes } from '../memory/memblock.ts'
import { layoutOfRegions } from '../memory/predict.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import { expectationOn } from '../scenario/case.ts'
import { MODULE_LIMITS } from '../tdx/platform.ts'
import type {
  Basis,
  Check,
  Context,
  JudgedCase,
  JudgedKernel,
  Reason,
  Verdict,
} from './context.ts'
import {
  checkCmdline,
  checkExtendedMap,
  checkFaults,
  checkFirmwareMap,
  checkInterposition,
  checkSrat,
  checkUserMap,
} from './checks/proof.ts'
import { checkEnd, checkOutcome } from './checks/ending.ts'
import {
  checkKeyids,
  checkNodeRanges,
  checkPamt,
  checkTdmrs,
} from './checks/layout.ts'
import {
  checkCmrs,
  checkExpectedRegions,
  checkMemoryRegions,
  checkPrintedRegions,
  checkWitness,
} from './checks/regions.ts'
import { checkOnline, checkPlugged } from './checks/steps.ts'
import { type Prediction, predictFrom } from './prediction.ts'
import {
  checkSeamcalls,
  checkSequence,
  checkShutdown,
  checkTrigger,
} from './checks/seamcalls.ts'

/** The outcome of a case, with all that speaks against it. */
export interface Judgement {
  readonly verdict: Verdict
  readonly reasons: readonly Reason[]
  readonly basis: Basis
  readonly prediction: Prediction
}

/** In the order in which a person wants to read what is wrong. */
const CHECKS: readonly Check[] = [
  checkCmdline,
  checkInterposition,
  checkFaults,
  checkFirmwareMap,
  checkExtendedMap,
  checkUserMap,
  checkSrat,
  checkPlugged,
  checkEnd,
  checkOutcome,
  checkNodeRanges,
  checkMemoryRegions,
  checkPrintedRegions,
  checkWitness,
  checkExpectedRegions,
  checkCmrs,
  checkTdmrs,
  checkPamt,
  checkKeyids,
  checkSeamcalls,
  checkSequence,
  checkShutdown,
  checkTrigger,
  checkOnline,
]

/** What can be looked at when the kernel is meant to die on the way. */
const PANIC_CHECKS: readonly Check[] = [
  checkCmdline,
  checkFirmwareMap,
  checkExtendedMap,
  checkEnd,
]

/** A kernel that never spoke leaves nothing to compare: only its end counts. */
const checksFor = ({ expect, record }: Context): readonly Check[] => {
  if (record.facts.kernel === null) return [checkEnd]
  return expect.panic === undefined ? CHECKS : PANIC_CHECKS
}

/** Holds what a boot left behind against expectation and prediction. */
export const judge = (
  item: JudgedCase,
  kernel: JudgedKernel,
  prediction: Prediction,
  record: BootRecord,
): Judgement => {
  const context = contextOf(item, kernel, prediction, record)
  const reasons = checksFor(context).flatMap(check => check(context))
  return {
    verdict: verdictOf(reasons),
    reasons,
    basis: context.basis,
    prediction: context.prediction,
  }
}

/** A panic or a hang stays a failure even if nothing else is proven. */
const verdictOf = (reasons: readonly Reason[]): Verdict => {
  if (reasons.length === 0) return 'pass'
  const ended = reasons.some(
    ({ check }) => check === 'end' || check === 'incident' || check === 'panic',
  )
  const invalid = reasons.some(({ kind }) => kind === 'invalid')
  return invalid && !ended ? 'invalid' : 'fail'
}

/**
 * Where the model does not follow a parameter, the kernel's own node ranges
 * take the place of the predicted ones.
 */
const contextOf = (
  item: JudgedCase,
  kernel: JudgedKernel,
  prediction: Prediction,
  record: BootRecord,
): Context => {
  const { layout } = prediction
  const common = {
    item,
    kernel,
    record,
    expect: expectationOn(item, kernel.series),
  }
  if (layout.unpredictable.length === 0)
    return { ...common, prediction, layout, basis: 'machine' }
  const memblock = mergeNodes(record.facts.nodeRanges)
  const seen = predictFrom(
    item,
    {
      ...layout,
      memblock,
      // Where the model does not follow, it does not know about PAMTs either.
      ...layoutOfRegions(tdxMemoryRegions(memblock), MODULE_LIMITS, 'moved'),
    },
    kernel,
  )
  return {
    ...common,
    prediction: seen,
    layout: seen.layout,
    basis: 'console',
  }
}
