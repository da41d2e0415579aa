import * as z from 'zod'
import { formatSize, hex } from '../base/units.ts'
import {
  type CaseOutcome,
  type JudgedOutcome,
  type UnjudgedOutcome,
  verdictOf,
} from '../judge/case-outcome.ts'
import { memoryResults, onlineResults } from '../judge/checks/memory-steps.ts'
import { updateResults } from '../judge/checks/steps.ts'
import type { Evidence, Verdict } from '../judge/context.ts'
import type { Judgement, NextJudgement } from '../judge/judge.ts'
import { observeEnding } from '../judge/observed-ending.ts'
import type { Prediction } from '../judge/prediction.ts'
import { formatNodeRange, formatRange } from '../memory/range.ts'
import type { Facts } from '../console/facts.ts'
import { mergeNodes } from '../memory/memblock.ts'
import type { Case } from '../scenario/case.ts'
import type { Poisoned, Step, StepMemory } from '../scenario/steps.ts'
import { faultSchema } from '../tdx/fault.ts'
import { leafName } from '../tdx/leaves.ts'
import { statusName } from '../tdx/status.ts'
import { type Span, type TdmrInfo, reservedSpans } from '../tdx/tdmr-info.ts'
import {
  entryJson,
  memoryJson,
  nodeRangeJson,
  rangeJson,
} from './layout-json.ts'
import type { Reproduce, RunEnd, RunHead } from './reporter.ts'
import type { CaseResult, ResultDocument } from './schema.ts'

/**
 * What came of a case, as JSON.
 *
 * @param attempts all boots of it in this run; default: this one
 */
export const caseDocument = (
  outcome: CaseOutcome,
  reproduce: Reproduce,
  attempts: readonly CaseOutcome[] = [outcome],
): CaseResult => ({
  ...asked(outcome),
  ...(outcome.kind === 'judged' ? judged(outcome) : unjudged(outcome)),
  attempts: attempts
    .filter(({ kind }) => kind !== 'skip')
    .map(attempt => ({
      verdict: verdictOf(attempt),
      totalMs:
        attempt.kind === 'judged'
          ? round(attempt.evidence.record.timing.total)
          : 0,
    })),
  reproduce: reproduce(outcome),
})

type Asked = Pick<
  CaseResult,
  | 'id'
  | 'scenario'
  | 'name'
  | 'kernel'
  | 'machine'
  | 'words'
  | 'platform'
  | 'steps'
  | 'predicted'
  | 'layout'
  | 'why'
>

/** What is known of a case before it is booted. */
const asked = (outcome: CaseOutcome): Asked => {
  const { item } = outcome
  const prediction =
    outcome.kind === 'judged'
      ? outcome.judgement.prediction
      : outcome.prediction
  return {
    id: item.id,
    scenario: item.scenario,
    name: item.name,
    why: item.why,
    kernel: item.kernel,
    machine: machineOf(item),
    words: [...item.words],
    platform: platformOf(item),
    steps: item.steps.map(stepText),
    predicted: predictedOf(prediction),
    layout: memoryJson(prediction.layout),
  }
}

type Came = Omit<CaseResult, keyof Asked | 'reproduce' | 'attempts'>

const judged = ({
  item,
  judgement,
  evidence,
  console,
}: JudgedOutcome): Came => {
  const { record, facts } = evidence
  return {
    verdict: judgement.verdict,
    reasons: [...judgement.reasons],
    scope: judgement.scope,
    passed: [...judgement.passed],
    witnesses: [...judgement.witnesses],
    unobserved: judgement.unobserved.map(({ check, missing }) => ({
      check,
      missing: [...missing],
    })),
    ...kernelOf(judgement, evidence),
    online: record.witnesses.steps ? onlineResults({ item, facts }) : null,
    memory: record.witnesses.steps ? memoryResults({ item, facts }) : null,
    updates: record.witnesses.steps ? updateResults({ item, facts }) : null,
    seen: record.witnesses.console ? seenOf(facts) : null,
    next: judgement.next ? nextOf(judgement.next) : null,
    incidents: facts.incidents.map(incident => ({ ...incident })),
    end: record.end,
    stuck: record.stuck.map(({ cpu, rip, symbol }) => ({
      cpu,
      rip: hex(rip),
      symbol,
    })),
    timing: {
      totalMs: round(record.timing.total),
      firstByteMs:
        record.timing.firstByte === null
          ? null
          : round(record.timing.firstByte),
      snapshot: record.start.snapshot === true,
    },
    argv: [...record.start.argv],
    console,
  }
}

type OfKernel = Pick<
  NonNullable<CaseResult['next']>,
  'tdx' | 'regions' | 'tdmrs' | 'seamcalls' | 'cmdline'
>

/** What is told of each kernel of a boot. */
const kernelOf = (
  judgement: Judgement,
  { facts, record }: Evidence,
): OfKernel => {
  const { memory, module } = record.witnesses
  const { tdx } = facts
  const { outcome, stage, errno } = observeEnding(facts, record)
  return {
    tdx: {
      outcome,
      stage,
      errno,
      keyids: tdx.keyids && [...tdx.keyids],
      pamtKiB: tdx.pamtKib,
      message: tdx.message,
    },
    regions: {
      basis: judgement.basis,
      predicted: judgement.prediction.layout.regions.map(nodeRangeJson),
      expected: judgement.expectedRegions?.map(nodeRangeJson) ?? null,
      printed: tdx.regions?.map(nodeRangeJson) ?? null,
      memory: memory?.regions?.map(nodeRangeJson) ?? null,
      atBoot: memory?.regionsAtBoot?.map(nodeRangeJson) ?? null,
    },
    tdmrs: module?.tdmrs?.map(tdmrText) ?? null,
    seamcalls:
      module?.seamcalls.map(({ leaf, status, cpu }, i, { length }) => ({
        leaf,
        name: leafName(leaf),
        status: status === null ? null : hex(status),
        statusName:
          record.end === 'unanswered' && i === length - 1
            ? 'no answer'
            : status === null
              ? null
              : (statusName(status) ?? null),
        cpu,
      })) ?? null,
    cmdline: {
      asked: record.start.cmdline,
      effective: memory?.cmdline ?? facts.cmdline,
    },
  }
}

const nextOf = (judgement: NextJudgement): CaseResult['next'] => ({
  ...kernelOf(judgement, judgement.trial.evidence),
  predicted: predictedOf(judgement.prediction),
  passed: [...judgement.passed],
})

const unjudged = ({ kind, message, prediction }: UnjudgedOutcome): Came => ({
  verdict: kind,
  reasons: [{ kind, check: kind === 'error' ? 'machine' : 'kernel', message }],
  scope: null,
  passed: [],
  witnesses: [],
  unobserved: [],
  tdx: null,
  regions: {
    basis: 'machine',
    predicted: prediction.layout.regions.map(nodeRangeJson),
    expected: null,
    printed: null,
    memory: null,
    atBoot: null,
  },
  online: null,
  memory: null,
  updates: null,
  seen: null,
  tdmrs: null,
  seamcalls: null,
  next: null,
  incidents: [],
  end: null,
  stuck: [],
  timing: { totalMs: 0, firstByteMs: null },
  cmdline: null,
  argv: [],
  console: null,
})

/** The document of a run. */
export const resultDocument = (
  { rig, started, kernels }: Omit<RunHead, 'cases'>,
  { durationMs, interrupted }: Pick<RunEnd, 'durationMs' | 'interrupted'>,
  cases: readonly CaseResult[],
): ResultDocument => ({
  schema: 'tdxrig.result/3',
  rig,
  started,
  kernels: [...kernels],
  durationMs: round(durationMs),
  interrupted,
  summary: countVerdicts(cases.map(({ verdict }) => verdict)),
  cases: [...cases],
})

export const countVerdicts = (
  verdicts: readonly Verdict[],
): Record<Verdict, number> => {
  const counts = { pass: 0, fail: 0, invalid: 0, error: 0, skip: 0 }
  for (const verdict of verdicts) counts[verdict]++
  return counts
}

const round = (milliseconds: number): number =>
  Math.round(milliseconds * 10) / 10

const spanText = ({ base, size }: Span): { base: string; size: string } => ({
  base: hex(base),
  size: hex(size),
})

const tdmrText = (
  tdmr: TdmrInfo,
): NonNullable<CaseResult['tdmrs']>[number] => ({
  ...spanText(tdmr),
  pamt: tdmr.pamt.map(spanText),
  reserved: reservedSpans(tdmr).map(spanText),
})

const machineOf = ({ machine }: Case): CaseResult['machine'] => ({
  board: machine.board.id,
  cpus: machine.cpus,
  cpuModel: machine.cpuModel,
  packages: machine.packages,
  memory: formatSize(machine.memory.size),
  nodes: machine.memory.nodes.map((memory, node) => ({
    memory: formatSize(memory),
    cpus: [...(machine.nodeCpus[node] ?? [])],
  })),
  firmware: firmwareOf(machine.firmware),
})

const firmwareOf = ({
  e820,
  srat,
}: Case['machine']['firmware']): CaseResult['machine']['firmware'] => ({
  e820: e820?.map(entryJson) ?? null,
  srat: srat
    ? {
        cpus: srat.cpus.map(one => ({ ...one })),
        memory: srat.memory.map(({ domain, hotplug, ...range }) => ({
          ...rangeJson(range),
          domain,
          hotplug,
        })),
      }
    : null,
})

const platformOf = ({ platform }: Case): CaseResult['platform'] => ({
  module: platform.module,
  x2apic: platform.x2apic,
  keyids: { ...platform.keyids },
  cmrs: platform.cmrs.map(rangeJson),
  lps: platform.lps,
  faults: platform.faults.map(fault => z.encode(faultSchema, fault)),
})

/** `plug spare [0x180000000, 0x1c0000000) node 0`. */
const stepText = (step: Step): string => {
  switch (step.kind) {
    case 'trigger':
    case 'retry':
      return step.kind
    case 'offline':
      return `offline CPU ${step.cpu}`
    case 'update':
      return `update to ${step.image.module} (${step.image.kind})`
    case 'plug':
      return `plug ${step.dimm.name} ${formatNodeRange(step.dimm.range)}`
    case 'machine check':
      return `machine check at ${poisonedText(step.at)}`
    case 'kexec':
      return `kexec with '${step.next.words.join(' ')}'`
    case 'unplug':
      return `unplug ${step.dimm.name}`
    case 'kmem':
      return `kmem ${step.memory.name} ${formatRange(step.memory.device)}`
    case 'online':
      return `online ${step.memory.name}`
    case 'offline memory':
      return `offline ${memoryText(step.memory)}`
  }
}

const poisonedText = (at: Poisoned): string =>
  at === 'pamt' ? 'the first PAMT' : at === 'timer' ? 'a timer' : hex(at)

/** Of boot memory with its addresses, which are told nowhere else. */
const memoryText = ({ name, kind, range }: StepMemory): string =>
  kind === 'boot' ? `${name} ${formatRange(range)}` : name

const predictedOf = ({
  outcome,
  open,
}: Prediction): CaseResult['predicted'] => ({
  outcome: outcome?.outcome ?? null,
  stage: outcome?.stage ?? null,
  errno: outcome?.errno ?? null,
  why: outcome?.why ?? open ?? '',
})

const seenOf = (facts: Facts): CaseResult['seen'] => ({
  firmwareMap: facts.firmwareMap.map(entryJson),
  extendedMap: facts.extendedMap?.map(entryJson) ?? null,
  userMap: facts.userMap?.map(entryJson) ?? null,
  memblock: mergeNodes(facts.nodeRanges).map(nodeRangeJson),
  cmrs: facts.tdx.cmrs?.map(rangeJson) ?? null,
})
