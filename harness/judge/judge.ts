import type { WitnessName } from '../machine/record.ts'
import { witnessesOf } from '../machine/record.ts'
import { mergeNodes } from '../memory/memblock.ts'
import { layoutOfRegions } from '../memory/predict.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import { expectationOn } from '../scenario/case.ts'
import type { Expectation } from '../scenario/expectation.ts'
import {
  checkEnd,
  checkErrno,
  checkOutcome,
  checkStage,
  checkSteps,
} from './checks/ending.ts'
import {
  checkKeyids,
  checkNodeRanges,
  checkPamt,
  checkTdmrs,
} from './checks/layout.ts'
import {
  checkCmdline,
  checkExtendedMap,
  checkFaults,
  checkFirmwareMap,
  checkInterposition,
  checkSrat,
  checkUserMap,
} from './checks/proof.ts'
import { checkAllocations, checkFreed, checkResets } from './checks/memory.ts'
import {
  checkCmrs,
  checkExpectedRegions,
  checkMemoryRegions,
  checkPrintedRegions,
  checkWitness,
} from './checks/regions.ts'
import {
  checkSeamcalls,
  checkSequence,
  checkShutdown,
  checkTrigger,
} from './checks/seamcalls.ts'
import {
  checkKmem,
  checkMemory,
  checkPamtStays,
  checkPlugged,
} from './checks/memory-steps.ts'
import {
  checkKexec,
  checkMachineCheck,
  checkOffline,
  checkRetries,
  checkUpdates,
} from './checks/steps.ts'
import type {
  Basis,
  Check,
  Context,
  Reason,
  Scope,
  Verdict,
} from './context.ts'
import { type Trial, firstTrial, nextTrial } from './kernels.ts'
import { type Prediction, predictFrom } from './prediction.ts'

/** A check that could not be made, and the witnesses it lacked. */
export interface Unobserved {
  readonly check: string
  readonly missing: readonly WitnessName[]
}

/** The outcome of a case, with all that speaks against it. */
export interface Judgement {
  readonly verdict: Verdict
  readonly reasons: readonly Reason[]
  /** Of a kernel without TDX host support: the layout of memory alone. */
  readonly scope: Scope
  readonly basis: Basis
  /** Checks that found nothing wrong, in their order. */
  readonly passed: readonly string[]
  /** Those of the scenario itself; undefined: it states none. */
  readonly expectedRegions: Expectation['regions']
  readonly prediction: Prediction
  /** Who saw the boot. */
  readonly witnesses: readonly WitnessName[]
  /** What was not observed: it speaks neither for the kernel nor against it. */
  readonly unobserved: readonly Unobserved[]
  /** Of the kernel that a kexec step started; undefined: none began. */
  readonly next?: NextJudgement | undefined
}

/** With what was judged. */
export interface NextJudgement extends Judgement {
  readonly trial: Trial
}

/** In the order in which a person wants to read what is wrong. */
const CHECKS: readonly Check[] = [
  checkCmdline,
  checkInterposition,
  checkFaults,
  checkAllocations,
  checkFirmwareMap,
  checkExtendedMap,
  checkUserMap,
  checkSrat,
  checkPlugged,
  checkKmem,
  checkEnd,
  checkSteps,
  checkOutcome,
  checkStage,
  checkErrno,
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
  checkMemory,
  checkPamtStays,
  checkUpdates,
  checkRetries,
  checkOffline,
  checkFreed,
  checkResets,
  checkMachineCheck,
  checkKexec,
]

/** What can be looked at when the kernel is expected to panic. */
const PANIC_CHECKS: readonly Check[] = [
  checkCmdline,
  checkFirmwareMap,
  checkExtendedMap,
  checkEnd,
]

/** What can be looked at of a kernel without TDX host support. */
const LAYOUT_CHECKS: readonly Check[] = [
  checkCmdline,
  checkFirmwareMap,
  checkExtendedMap,
  checkUserMap,
  checkSrat,
  checkEnd,
  checkNodeRanges,
]

/** A kernel that never spoke leaves nothing to compare: only its end counts. */
const checksFor = ({
  expect,
  facts,
  record,
  kernel,
}: Context): readonly Check[] => {
  if (record.witnesses.console && facts.kernel === null) return [checkEnd]
  if ((expect.panic ?? expect.hangs) !== undefined) return PANIC_CHECKS
  return kernel.hostsTdx ? CHECKS : LAYOUT_CHECKS
}

/**
 * Compares what a boot left behind with expectation and prediction: of the
 * first kernel, and of the one that it started.
 */
export const judge = (trial: Trial): Judgement => {
  const first = judgeKernel(firstTrial(trial))
  const following = nextTrial(trial)
  if (!following) return first
  const next = judgeKernel(following)
  return {
    ...first,
    verdict: first.verdict === 'pass' ? next.verdict : first.verdict,
    reasons: [
      ...first.reasons,
      ...next.reasons.map(reason => ({
        ...reason,
        message: `the kernel that kexec started: ${reason.message}`,
      })),
    ],
    next: { ...next, trial: following },
  }
}

/** Judges a kernel by what was seen of it. */
const judgeKernel = (trial: Trial): Judgement => {
  const context = contextOf(trial)
  const reasons: Reason[] = []
  const unobserved: Unobserved[] = []
  const passed: string[] = []
  for (const { name, look } of checksFor(context)) {
    const found = look(context)
    if ('missing' in found) unobserved.push({ check: name, ...found })
    else {
      if (found.length === 0) passed.push(name)
      reasons.push(...found)
    }
  }
  if (unobserved.some(({ check }) => check === checkEnd.name))
    reasons.push({
      kind: 'invalid',
      check: 'witnesses',
      message: 'the console was not observed: how TDX ended is not known',
    })
  const weighed = weigh(reasons, context)
  return {
    verdict: verdictOf(weighed),
    reasons: weighed,
    scope: trial.kernel.hostsTdx ? 'tdx' : 'layout',
    basis: context.prediction.handover === true ? 'console' : context.basis,
    passed,
    expectedRegions: context.expect.regions,
    prediction: context.prediction,
    witnesses: witnessesOf(context.record),
    unobserved,
  }
}

/** How a boot ended: no lost character makes a panic. */
const ENDINGS: ReadonlySet<string> = new Set(['end', 'incident', 'panic'])

/** What differs on a console that may have lost characters proves nothing. */
const weigh = (
  reasons: readonly Reason[],
  { record }: Context,
): readonly Reason[] => {
  const isDoubtful = ({ check }: Reason): boolean => !ENDINGS.has(check)
  if (record.witnesses.console?.lossy !== true || !reasons.some(isDoubtful))
    return reasons
  return [
    ...reasons.map(reason =>
      isDoubtful(reason) ? { ...reason, kind: 'invalid' as const } : reason,
    ),
    {
      kind: 'invalid',
      check: 'console',
      message:
        'the console came over a serial line, which may lose characters: what differs may be what was lost',
    },
  ]
}

/**
 * A panic or a hang stays a failure even if nothing else is proven, unless the
 * kernel was told something else than was asked: that may have caused it.
 */
const verdictOf = (reasons: readonly Reason[]): Verdict => {
  if (reasons.length === 0) return 'pass'
  const toldOtherwise = reasons.some(
    ({ check, expected }) => check === 'cmdline' && expected !== undefined,
  )
  const ended = reasons.some(({ check }) => ENDINGS.has(check))
  const invalid = reasons.some(({ kind }) => kind === 'invalid')
  return toldOtherwise || (invalid && !ended) ? 'invalid' : 'fail'
}

/**
 * Where the model does not follow a parameter, the kernel's own node ranges
 * take the place of the predicted ones.
 */
const contextOf = ({ item, kernel, prediction, evidence }: Trial): Context => {
  const { layout } = prediction
  const common = {
    ...evidence,
    item,
    kernel,
    expect: expectationOn(item, kernel.series),
  }
  if (layout.unpredictable.length === 0)
    return { ...common, prediction, layout, basis: 'machine' }
  const memblock = mergeNodes(evidence.facts.nodeRanges)
  const seen = predictFrom(
    item,
    {
      ...layout,
      memblock,
      // Where the model does not follow, it does not know about PAMTs either.
      ...layoutOfRegions(tdxMemoryRegions(memblock), layout.limits, 'moved'),
    },
    kernel,
  )
  return { ...common, prediction: seen, layout: seen.layout, basis: 'console' }
}
