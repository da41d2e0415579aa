import type { StepReport } from '../../guest/protocol.ts'
import { type Range, formatRange, overlaps } from '../../memory/range.ts'
import type { Step, StepMemory } from '../../scenario/steps.ts'
import { ERRNO } from '../../tdx/errno.ts'
import type { TdmrInfo } from '../../tdx/tdmr-info.ts'
import { type Context, type Reason, check, unseen } from '../context.ts'
import type { MemoryStepKind, PredictedMemory } from '../predict-memory.ts'
import { type Stepped, reportOf } from './steps.ts'

/** What came of the steps that add memory, take it away, and use it. */

type MemoryStep = Exclude<
  Step,
  {
    readonly kind:
      'trigger' | 'retry' | 'offline' | 'update' | 'machine check' | 'kexec'
  }
>

const isMemoryStep = (step: Step): step is MemoryStep =>
  'dimm' in step || 'memory' in step

const memoryOf = (step: MemoryStep): StepMemory =>
  'dimm' in step ? step.dimm : step.memory

/** The report that a step of init ends with. */
const REPORT = {
  plug: 'plugged',
  unplug: 'unplugged',
  kmem: 'kmem',
  online: 'online',
  'offline memory': 'offline-memory',
} as const satisfies Record<MemoryStepKind, StepReport['kind']>

/** The guest did not hang: it waits for its kernel to deal with a DIMM. */
export const waitsForDimm = ({
  item,
  facts,
  record,
}: Pick<Context, 'item' | 'facts' | 'record'>): boolean =>
  (record.end === 'silence' || record.end === 'deadline') &&
  item.steps.some(
    ({ kind }, i) =>
      (kind === 'plug' || kind === 'unplug') &&
      reportOf(facts, i, kind) &&
      !reportOf(facts, i, REPORT[kind]),
  )

/** What the kernel did in a step. */
export interface Attempt {
  readonly step: number
  readonly kind: MemoryStepKind
  readonly memory: StepMemory
  /** `partly`: of its memory blocks some. */
  readonly result: 'done' | 'refused' | 'partly' | 'no report'
  /** Of what was refused; 0 when nothing was, or no number was told. */
  readonly errno: number
  readonly text: string
}

/** How each step is worded when it was done. */
const DONE: Readonly<Record<MemoryStepKind, string>> = {
  plug: 'added',
  unplug: 'removed',
  kmem: 'added',
  online: 'taken',
  'offline memory': 'offline',
}

/** `putting 'spare' online`. */
const doing = (
  kind: Exclude<MemoryStepKind, 'plug' | 'kmem'>,
  name: string,
): string => {
  switch (kind) {
    case 'unplug':
      return `unplugging '${name}'`
    case 'online':
      return `putting '${name}' online`
    case 'offline memory':
      return `taking '${name}' offline`
  }
}

const attempts = ({ item, facts }: Stepped): Attempt[] =>
  item.steps.flatMap((step, i): Attempt[] => {
    if (!isMemoryStep(step)) return []
    const { kind } = step
    const base = { step: i, kind, memory: memoryOf(step) }
    const report = reportOf(facts, i, REPORT[kind])
    if (!report)
      return [{ ...base, result: 'no report', errno: 0, text: 'no report' }]
    return [{ ...base, ...resultOf(kind, report) }]
  })

type Blocks = StepReport & { readonly blocks: number }

const resultOf = (
  kind: MemoryStepKind,
  report: Blocks,
): Pick<Attempt, 'result' | 'errno' | 'text'> => {
  const { blocks } = report
  if (kind === 'plug' || kind === 'unplug' || kind === 'kmem') {
    const there = blocks > 0
    return there === (kind !== 'unplug')
      ? { result: 'done', errno: 0, text: DONE[kind] }
      : {
          result: 'refused',
          errno: 0,
          text:
            kind !== 'unplug' ? 'not added' : `${blocks} memory blocks stay`,
        }
  }
  const { refused, errno } = 'refused' in report ? report : NOTHING
  if (blocks > 0 && refused === 0)
    return { result: 'done', errno: 0, text: DONE[kind] }
  return {
    result: refused === blocks ? 'refused' : 'partly',
    errno,
    text: `${refused} of ${blocks} memory blocks refused (${errno})`,
  }
}

const NOTHING = { refused: 0, errno: 0 }

/** Results of one kind of step, in words. */
const results = (
  stepped: Stepped,
  kind: MemoryStepKind,
): { name: string; result: string }[] =>
  attempts(stepped)
    .filter(attempt => attempt.kind === kind)
    .map(({ memory: { name }, result, errno, text }) => ({
      name,
      result:
        result === 'refused' && errno === REFUSAL[kind] ? 'refused' : text,
    }))

/** The refusal that needs no number in a result: what kernels say as a rule. */
const REFUSAL: Readonly<Partial<Record<MemoryStepKind, number>>> = {
  online: ERRNO.EPERM,
}

/** What came of putting memory online, in words. */
export const onlineResults = (
  stepped: Stepped,
): { dimm: string; result: string }[] =>
  results(stepped, 'online').map(({ name, result }) => ({ dimm: name, result }))

/** What came of taking memory offline, of DIMMs that came and that went. */
export const memoryResults = (
  stepped: Stepped,
): { memory: string; step: string; result: string }[] =>
  (['plug', 'kmem', 'unplug', 'offline memory'] as const).flatMap(kind =>
    results(stepped, kind)
      // A DIMM that was added is what everybody expects.
      .filter(({ result }) => result !== DONE.plug)
      .map(({ name, result }) => ({ memory: name, step: kind, result })),
  )

/**
 * A DIMM the kernel did not take was never hot-added: nothing is proven. The
 * kernel's answer to the firmware (_OST) says only that it looked: memory that
 * was added has memory blocks.
 */
export const checkPlugged = check(
  'plug',
  ['console', 'steps'],
  ({ item, facts, record, prediction }, { steps }) =>
    item.steps.flatMap((step, i): Reason[] => {
      if (step.kind !== 'plug') return []
      // A boot that ended before has another reason to fail.
      if (record.end !== 'settled' && !reportOf(facts, i, 'plug')) return []
      const { name } = step.dimm
      const status = steps.plugged.find(dimm => dimm.name === name)?.status
      const blocks = reportOf(facts, i, 'plugged')?.blocks ?? 0
      const predicted = prediction.memory.find(known => known.step === i)
      if (status === 0 && predicted?.result === 'refused')
        return blocks === 0
          ? []
          : [
              {
                kind: 'fail',
                check: 'plug',
                message: `plugging '${name}': the model predicts that the kernel does not add it, since ${predicted.why}; found ${blocks} memory blocks`,
              },
            ]
      if (status === 0 && blocks > 0) return []
      const found =
        status === undefined
          ? 'said nothing: is it built with CONFIG_ACPI_HOTPLUG_MEMORY?'
          : status === 0
            ? 'made no memory block of it: see its console'
            : `answered ${status} (_OST)`
      return [
        {
          kind: 'invalid',
          check: 'plug',
          message: `DIMM '${name}': expected the kernel to add its memory, it ${found}`,
        },
      ]
    }),
)

/** Memory that kmem did not add is no hot-added memory: nothing is proven. */
export const checkKmem = check('kmem', ['console', 'steps'], context => {
  if (context.record.end !== 'settled') return []
  return attempts(context).flatMap(
    ({ kind, memory: { name }, result, step }): Reason[] => {
      const predicted = context.prediction.memory.find(
        known => known.step === step,
      )
      const must = predicted?.result ?? 'done'
      if (kind !== 'kmem' || result === must) return []
      return [
        must === 'refused'
          ? {
              kind: 'fail',
              check: 'kmem',
              message: `giving '${name}' to kmem: the model predicts that it is refused, found ${DONE.kmem}: ${predicted?.why ?? ''}`,
            }
          : {
              kind: 'invalid',
              check: 'kmem',
              message: `memory '${name}': expected kmem to add it, found no memory block: is the kernel built with CONFIG_DEV_DAX_KMEM, as mainline-7.3-hotadd is, and does the memory map have exactly this range?`,
            },
      ]
    },
  )
})

/** What a step must come to, in words. */
const wordsOf = (
  kind: MemoryStepKind,
  result: PredictedMemory['result'],
  errno: number,
): string => {
  const refusal =
    kind === 'unplug'
      ? 'memory blocks that stay'
      : `every memory block refused (${errno})`
  if (result === 'open') return `${DONE[kind]}, or refused (${ERRNO.EBUSY})`
  return result === 'done' ? DONE[kind] : refusal
}

const agrees = (
  { kind, result, errno }: Attempt,
  predicted: Pick<PredictedMemory, 'result' | 'errno'>,
): boolean => {
  // The kernel says why it keeps a DIMM on its console only.
  const told = kind === 'unplug' ? 0 : errno
  if (predicted.result === 'open')
    return (
      result === 'done' ||
      (kind === 'online'
        ? result === 'refused' && errno === ERRNO.EPERM
        : result !== 'no report' && (told === 0 || told === ERRNO.EBUSY))
    )
  return (
    result === predicted.result &&
    (result === 'done' || kind === 'unplug' || errno === predicted.errno)
  )
}

/** What of a scenario's `expect` speaks about a kind of step. */
const STATED = {
  online: 'refused',
  'offline memory': 'staysOnline',
  unplug: 'staysOnline',
} as const

/** Memory is used, refused and given back as it must. */
export const checkMemory = check('memory', ['console', 'steps'], context => {
  const { prediction, expect, record } = context
  if (record.end !== 'settled') return []
  return attempts(context).flatMap((attempt): Reason[] => {
    const { kind, memory, text, step } = attempt
    if (kind === 'plug' || kind === 'kmem') return []
    const predicted = prediction.memory.find(known => known.step === step)
    const reason = (who: string, expected: string, hint = ''): Reason => ({
      kind: 'fail',
      check: kind === 'online' ? 'online' : 'memory',
      expected,
      found: text,
      message: `${doing(kind, memory.name)}: ${who} ${expected}, found ${text}${hint}`,
    })
    const stated = expect[STATED[kind]]?.includes(memory.name)
    if (stated !== undefined && (attempt.result === 'refused') !== stated)
      return [
        reason(
          'expected',
          wordsOf(
            kind,
            stated ? 'refused' : 'done',
            predicted?.result === 'refused' ? predicted.errno : USUAL[kind],
          ),
          predicted
            ? `; the model predicts ${wordsOf(kind, predicted.result, predicted.errno)}`
            : '',
        ),
      ]
    return predicted && !agrees(attempt, predicted)
      ? [
          reason(
            'the model predicts',
            wordsOf(kind, predicted.result, predicted.errno),
            `: ${predicted.why}`,
          ),
        ]
      : []
  })
})

const USUAL: Readonly<Record<keyof typeof STATED, number>> = {
  online: ERRNO.EPERM,
  'offline memory': ERRNO.EBUSY,
  unplug: 0,
}

/**
 * PAMTs cannot be moved (alloc_contig_pages(), mm/page_alloc.c): memory that
 * holds one stays online as long as the module uses it.
 */
export const checkPamtStays = check(
  'pamt-stays',
  ['console', 'steps'],
  context => {
    const { item, prediction, record } = context
    if (prediction.outcome?.outcome !== 'initialized') return []
    const { module } = record.witnesses
    // Only where memory goes offline is there anything to see.
    if (!module) return item.steps.some(goesOffline) ? unseen('module') : []
    const pamts = module.tdmrs?.flatMap(pamtsOf) ?? []
    const trigger = item.steps.findIndex(({ kind }) => kind === 'trigger')
    const from = context.kernel.trigger === 'at boot' ? -1 : trigger
    return attempts(context).flatMap(({ kind, step, memory, result }) => {
      if (kind !== 'offline memory' && kind !== 'unplug') return []
      const inside = pamts.find(pamt => overlaps(pamt, memory.range))
      return inside && step > from && result === 'done'
        ? [
            {
              kind: 'fail' as const,
              check: 'pamt-stays',
              message: `${doing(kind, memory.name)}: expected it to stay online, since a PAMT is at ${formatRange(inside)}, found ${DONE[kind]}`,
            },
          ]
        : []
    })
  },
)

const goesOffline = ({ kind }: Pick<Step, 'kind'>): boolean =>
  kind === 'offline memory' || kind === 'unplug'

const pamtsOf = ({ pamt }: TdmrInfo): Range[] =>
  pamt.map(({ base, size }) => ({
    start: Number(base),
    end: Number(base + size),
  }))
