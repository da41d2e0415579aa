import { ERRNO } from '../tdx/host.ts'
import type { Check, Context, JudgedCase, Reason } from './context.ts'

/** What came of the steps: DIMMs that were plugged and put online. */

/** DIMMs that init asked for and the kernel never answered for. */
const unanswered = ({
  item,
  record,
}: Pick<Context, 'item' | 'record'>): string[] =>
  item.steps.flatMap((step, i) =>
    step.kind === 'plug' &&
    record.facts.steps.some(report => report.step === i) &&
    !record.plugged.some(({ name }) => name === step.dimm.name)
      ? [step.dimm.name]
      : [],
  )

/** The guest did not hang: it waits for its kernel to deal with a DIMM. */
export const waitsForDimm = (
  context: Pick<Context, 'item' | 'record'>,
): boolean =>
  (context.record.end === 'silence' || context.record.end === 'deadline') &&
  unanswered(context).length > 0

/** A DIMM the kernel did not take was never hot-added: nothing is proven. */
export const checkPlugged: Check = context => {
  const invalid = (name: string, found: string): Reason => ({
    ...{ kind: 'invalid', check: 'plug' },
    message: `DIMM '${name}': expected the kernel to add its memory, it ${found}`,
  })
  return [
    ...unanswered(context).map(name =>
      invalid(
        name,
        'said nothing: is it built with CONFIG_ACPI_HOTPLUG_MEMORY?',
      ),
    ),
    ...context.record.plugged.flatMap(({ name, status }) =>
      status === 0 ? [] : [invalid(name, `answered ${status} (_OST)`)],
    ),
  ]
}

/** What the kernel did when a DIMM was put online. */
interface Attempt {
  readonly name: string
  /** Undefined when only some blocks were refused, or there is no report. */
  readonly refused: boolean | undefined
  readonly text: string
}

const attempts = ({
  item,
  record,
}: Pick<Context, 'record'> & {
  readonly item: Pick<JudgedCase, 'steps'>
}): Attempt[] =>
  item.steps.flatMap((step, i): Attempt[] => {
    if (step.kind !== 'online') return []
    const report = record.facts.steps.find(({ step: at }) => at === i)
    const { name } = step.dimm
    if (report?.kind !== 'online')
      return [{ name, refused: undefined, text: 'no report' }]
    const { blocks, refused, errno } = report
    if (blocks > 0 && refused === 0)
      return [{ name, refused: false, text: 'taken' }]
    return [
      {
        name,
        refused: refused === blocks && errno === ERRNO.EPERM ? true : undefined,
        text: `${refused} of ${blocks} memory blocks refused (${errno})`,
      },
    ]
  })

/** What came of putting each DIMM online, in words. */
export const onlineResults = (
  item: Pick<JudgedCase, 'steps'>,
  record: Context['record'],
): { dimm: string; result: string }[] =>
  attempts({ item, record }).map(({ name, refused, text }) => ({
    dimm: name,
    result: refused === true ? 'refused' : text,
  }))

const REFUSED = 'every memory block refused (-1)'

/** The kernel takes hot-added memory, or refuses it, as it must. */
export const checkOnline: Check = context => {
  const { prediction, expect, record } = context
  if (record.end !== 'settled') return []
  return attempts(context).flatMap(({ name, refused, text }) => {
    const reason = (who: string, must: boolean): Reason => {
      const expected = must ? REFUSED : 'taken'
      return {
        ...{ kind: 'fail', check: 'online', expected, found: text },
        message: `putting DIMM '${name}' online: ${who} ${expected}, found ${text}`,
      }
    }
    const wanted = expect.refused?.includes(name)
    if (wanted !== undefined && refused !== wanted)
      return [reason('expected', wanted)]
    const predicted = prediction.online.find(dimm => dimm.name === name)
    return predicted && refused !== predicted.refused
      ? [reason('the model predicts', predicted.refused)]
      : []
  })
}
