import { formatSize, hex } from '../base/units.ts'
import type { Verdict } from '../judge/context.ts'
import { VERDICTS } from '../judge/context.ts'
import type { Judgement } from '../judge/judge.ts'
import { observe } from '../judge/observed-ending.ts'
import { onlineResults } from '../judge/checks/steps.ts'
import type { Prediction } from '../judge/prediction.ts'
import type { BootRecord } from '../machine/machine.ts'
import { e820TypeName } from '../memory/e820.ts'
import { type NodeRange, type Range, formatNodeRange } from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import { leafName } from '../tdx/leaves.ts'
import { statusName } from '../tdx/status.ts'
import { type Span, type TdmrInfo, reservedSpans } from '../tdx/tdmr-info.ts'
import type { CaseResult, ResultDocument } from './schema.ts'

/** How to run a case again. */
export interface Again {
  /** tdxrig, as it is called from the current folder. */
  readonly program: string
  /** Options, with the kernel's. */
  readonly flags: readonly string[]
}

/** What is known of a case before it is booted. */
const common = (
  item: Case,
  prediction: Prediction,
  again: Again,
): Omit<CaseResult, 'verdict' | 'reasons'> => ({
  id: item.id,
  scenario: item.scenario,
  name: item.name,
  kernel: item.kernel,
  machine: machineOf(item),
  words: [...item.words],
  platform: platformOf(item),
  steps: item.steps.map(stepText),
  tdx: null,
  predicted: predictedOf(prediction),
  regions: {
    basis: 'machine',
    predicted: prediction.layout.regions.map(rangeText),
    printed: null,
    memory: null,
    atBoot: null,
  },
  online: [],
  tdmrs: null,
  seamcalls: [],
  incidents: [],
  end: null,
  stuck: [],
  timing: { totalMs: 0, firstByteMs: null },
  cmdline: null,
  argv: [],
  console: null,
  reproduce: reproduce(item, again),
})

/** The result of a case that was booted and judged. */
export const judgedCase = (
  item: Case,
  judgement: Judgement,
  record: BootRecord,
  consolePath: string,
  again: Again,
): CaseResult => {
  const { facts } = record
  const { tdx } = facts
  const base = common(item, judgement.prediction, again)
  return {
    ...base,
    verdict: judgement.verdict,
    reasons: [...judgement.reasons],
    tdx: {
      ...outcomeOf(record),
      keyids: tdx.keyids && [...tdx.keyids],
      pamtKiB: tdx.pamtKib,
      message: tdx.message,
    },
    regions: {
      ...base.regions,
      basis: judgement.basis,
      printed: tdx.regions?.map(rangeText) ?? null,
      memory: record.regions?.map(rangeText) ?? null,
      atBoot: record.regionsAtBoot?.map(rangeText) ?? null,
    },
    online: onlineResults(item, record),
    tdmrs: record.tdmrs?.map(tdmrText) ?? null,
    seamcalls: record.seamcalls.map(({ leaf, status, cpu }) => ({
      leaf,
      name: leafName(leaf),
      status: status === null ? null : hex(status),
      statusName: status === null ? null : (statusName(status) ?? null),
      cpu,
    })),
    incidents: facts.incidents.map(incident => ({ ...incident })),
    end: record.end,
    stuck: record.stuck.map(({ cpu, rip, symbol }) => ({
      cpu,
      rip: hex(rip),
      symbol: symbol ?? null,
    })),
    timing: {
      totalMs: round(record.timing.total),
      firstByteMs:
        record.timing.firstByte === null
          ? null
          : round(record.timing.firstByte),
    },
    cmdline: {
      asked: record.cmdline,
      effective: record.effectiveCmdline ?? facts.cmdline,
    },
    argv: [...record.argv],
    console: consolePath,
  }
}

const outcomeOf = (
  record: BootRecord,
): Pick<NonNullable<CaseResult['tdx']>, 'outcome' | 'stage' | 'errno'> => {
  const { outcome, stage, errno } = observe(record)
  return { outcome, stage, errno }
}

/**
 * The result of a case that gave none: the rig or the machine failed
 * (`error`), or it cannot be booted on its kernel (`skip`).
 */
export const unjudgedCase = (
  item: Case,
  prediction: Prediction,
  again: Again,
  verdict: 'error' | 'skip',
  message: string,
): CaseResult => ({
  ...common(item, prediction, again),
  verdict,
  reasons: [
    {
      kind: verdict,
      check: verdict === 'error' ? 'machine' : 'kernel',
      message,
    },
  ],
})

/** The document of a run. */
export const resultDocument = (
  head: Pick<
    ResultDocument,
    'rig' | 'started' | 'durationMs' | 'interrupted' | 'kernels'
  >,
  cases: readonly CaseResult[],
): ResultDocument => ({
  schema: 'tdxrig.result/1',
  ...head,
  durationMs: round(head.durationMs),
  summary: summarize(cases),
  cases: [...cases],
})

const summarize = (cases: readonly CaseResult[]): Record<Verdict, number> =>
  Object.fromEntries(
    VERDICTS.map(verdict => [
      verdict,
      cases.filter(result => result.verdict === verdict).length,
    ]),
  ) as Record<Verdict, number>

const round = (milliseconds: number): number =>
  Math.round(milliseconds * 10) / 10

const rangeText = ({
  start,
  end,
  node,
}: NodeRange): { start: string; end: string; node: number } => ({
  start: hex(start),
  end: hex(end),
  node,
})

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
  e820:
    e820?.map(entry => ({
      ...spanOf(entry),
      type: e820TypeName(entry.type),
    })) ?? null,
  srat: srat
    ? {
        cpus: srat.cpus.map(one => ({ ...one })),
        memory: srat.memory.map(({ domain, hotplug, ...range }) => ({
          ...spanOf(range),
          domain,
          hotplug,
        })),
      }
    : null,
})

const spanOf = ({ start, end }: Range): { start: string; end: string } => ({
  start: hex(start),
  end: hex(end),
})

const platformOf = ({ platform }: Case): CaseResult['platform'] => ({
  module: platform.module,
  x2apic: platform.x2apic,
  keyids: { ...platform.keyids },
  cmrs: platform.cmrs.map(spanOf),
  lps: platform.lps,
  faults: platform.faults.map(({ leaf, status, cpu, times }) => ({
    leaf: leaf.replaceAll('_', '.'),
    status: hex(status),
    cpu: cpu ?? null,
    times: Number.isFinite(times) ? times : null,
  })),
})

/** `plug spare [0x180000000, 0x1c0000000) node 0`. */
const stepText = (step: Step): string =>
  step.kind === 'trigger'
    ? step.kind
    : [
        step.kind,
        step.dimm.name,
        ...(step.kind === 'plug' ? [formatNodeRange(step.dimm.range)] : []),
      ].join(' ')

const predictedOf = ({
  layout,
  outcome,
  open,
}: Prediction): CaseResult['predicted'] => ({
  outcome: outcome?.outcome ?? null,
  stage: outcome?.stage ?? null,
  errno: outcome?.errno ?? null,
  why: outcome?.why ?? open ?? '',
  pamtKiB: layout.pamtKib,
  numaFallback: layout.numaFallback ?? null,
})

/** A word for a POSIX shell. */
export const shellQuote = (word: string): string =>
  /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

const reproduce = ({ scenario, id }: Case, { program, flags }: Again): string =>
  [program, 'run', scenario, '--filter', id, ...flags].map(shellQuote).join(' ')
