import { hex } from '../../base/units.ts'
import type { Facts } from '../../console/facts.ts'
import type { BootRecord } from '../../machine/record.ts'
import { formatRange } from '../../memory/range.ts'
import type { Expectation } from '../../scenario/expectation.ts'
import { poisonedBy } from '../../scenario/steps.ts'
import { LEAF, leafName } from '../../tdx/leaves.ts'
import { statusName } from '../../tdx/status.ts'
import {
  type Context,
  type Evidence,
  type Reason,
  check,
  unseen,
} from '../context.ts'
import {
  type ObservedEnding,
  describeEnding,
  hasErrno,
  isAt,
  observeEnding,
} from '../observed-ending.ts'
import { waitsForDimm } from './memory-steps.ts'
import { FATAL_MACHINE_CHECK } from './steps.ts'

/** How the boot ended, and what became of TDX. */

const fail = (
  name: string,
  message: string,
  details: Partial<Reason> = {},
): Reason => ({ kind: 'fail', check: name, message, ...details })

/** What a machine check makes a kernel say. */
const OF_MACHINE_CHECK: ReadonlySet<string> = new Set([
  'panic',
  'machine check',
])
/** mce_timed_out() (arch/x86/kernel/cpu/mce/core.c) */
const NOT_ALL_CPUS = 'Timeout: Not all CPUs entered broadcast exception handler'

/** The kernel came to a result by itself. */
export const checkEnd = check('end', ['console'], context => {
  const { record, facts, expect, item, kernel } = context
  if (facts.kernel === null && facts.incidents.length === 0)
    return [fail('end', `the kernel printed nothing; ${describeEnd(context)}`)]
  if (expect.panic !== undefined) return checkPanic(context, expect.panic)
  if (expect.hangs !== undefined) return checkHang(context, expect.hangs)
  const wanted = expect.warning
  const isWanted = ({ kind, text }: Facts['incidents'][number]): boolean =>
    wanted !== undefined && kind === 'warning' && text.includes(wanted)
  if (wanted !== undefined && !facts.incidents.some(isWanted))
    return [
      fail('end', `expected the kernel to warn with '${wanted}', it did not`),
    ]
  const poisoned = kernel.hostsTdx && poisonedBy(item.steps) !== undefined
  const unwanted = facts.incidents.filter(
    one => !isWanted(one) && !(poisoned && OF_MACHINE_CHECK.has(one.kind)),
  )
  const trouble = unwanted.map(({ kind, line, text }) =>
    fail(
      'incident',
      `the kernel reports ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} (console line ${line}): ${text}`,
      { line },
    ),
  )
  if (poisoned) return [...trouble, ...checkPoisoned(context)]
  if (trouble.length > 0 || record.end === 'settled' || waitsForDimm(context))
    return trouble
  return [fail('end', describeEnd(context))]
})

/** Every step was gone through, and the trigger said how it went. */
export const checkSteps = check(
  'steps',
  ['console', 'steps'],
  ({ record, facts, expect, item, kernel }) => {
    const { complaints, trigger } = facts.guest
    const settled =
      record.end === 'settled' &&
      expect.panic === undefined &&
      facts.incidents.length === 0
    if (!settled) return []
    // A trigger the kernel does not load is its fault; for all other steps the
    // machine or the rig lacks something.
    const refused = complaints.filter(text => text.includes('trigger'))
    const lacking = complaints.filter(text => !text.includes('trigger'))
    if (refused.length > 0)
      return [fail('end', `the trigger did not run: ${refused.join('; ')}`)]
    if (lacking.length > 0)
      return [
        {
          kind: 'invalid',
          check: 'steps',
          message: `a step could not be done: ${lacking.join('; ')}`,
        },
      ]
    return trigger === null &&
      kernel.trigger !== 'at boot' &&
      item.steps.some(({ kind }) => kind === 'trigger')
      ? [fail('end', 'the trigger module printed no result')]
      : []
  },
)

/** The machine check came, and the kernel took it for one. */
const checkPoisoned = (context: Context): Reason[] => {
  const { item, record, facts } = context
  const invalid = (message: string): Reason[] => [
    { kind: 'invalid', check: 'steps', message },
  ]
  const { module } = record.witnesses
  if (poisonedBy(item.steps) === 'pamt' && module && !module.tdmrs)
    return invalid(
      'there is no PAMT to poison: the kernel offered the module no TDMR; give an address instead of pamt',
    )
  if (facts.incidents.some(({ text }) => text.includes(NOT_ALL_CPUS)))
    return invalid(
      'a CPU came too late to the machine check, as on a machine with too much to do: run it again with fewer --jobs',
    )
  return checkPanic(context, FATAL_MACHINE_CHECK)
}

const checkPanic = (context: Context, text: string): Reason[] => {
  const { incidents } = context.facts
  const panic = incidents.find(({ kind }) => kind === 'panic')
  if (!panic)
    return [
      fail(
        'panic',
        `expected the kernel to panic with '${text}', it did not: ${howItEnded(context)}`,
      ),
    ]
  return panic.text.includes(text)
    ? []
    : [
        fail(
          'panic',
          `expected a panic with '${text}', found '${panic.text}'`,
          {
            expected: text,
            found: panic.text,
          },
        ),
      ]
}

/** A kernel cannot help it: it is to show where it hangs. */
const checkHang = (context: Context, leaf: string): Reason[] => {
  const { record } = context
  const expected = `TDH.${leaf}`
  const found = lastLeaf(record)
  return record.end === 'unanswered' && found === expected
    ? []
    : [
        fail(
          'end',
          `expected the kernel to hang in ${expected}, found: ${describeEnd(context)}`,
        ),
      ]
}

const lastLeaf = ({ witnesses }: BootRecord): string | undefined => {
  const last = witnesses.module?.seamcalls.at(-1)
  return last && leafName(last.leaf)
}

/** Of a boot that came to its end, too. */
const howItEnded = (context: Evidence): string =>
  context.record.end === 'settled' && context.facts.guest.done
    ? 'all steps were done'
    : describeEnd(context)

const describeEnd = ({ record, facts, tail }: Evidence): string => {
  const last = tail.findLast(line => line !== '') ?? 'nothing'
  const said = `the last console line is '${last}'`
  switch (record.end) {
    case 'reset':
      return `the guest reset itself before it had a result; ${said}`
    case 'silence':
    case 'deadline':
      return `the guest ${
        record.end === 'silence'
          ? 'gave no sign of life'
          : 'did not come to a result in time'
      }; ${said}${lastSeamcall(record)}${whereStuck(record)}`
    case 'unanswered':
      return `a SEAMCALL never returned${lastSeamcall(record)}${whereStuck(record)}; ${said}`
    case 'exited':
    case 'settled':
      return facts.guest.complaints.length > 0
        ? `a step failed: ${facts.guest.complaints.join('; ')}`
        : `the guest powered off before all steps were done; ${said}`
  }
}

const lastSeamcall = ({ witnesses }: BootRecord): string => {
  const last = witnesses.module?.seamcalls.at(-1)
  return last
    ? `; the last SEAMCALL was ${leafName(last.leaf)} on CPU ${last.cpu}`
    : ''
}

const whereStuck = ({ stuck }: BootRecord): string =>
  stuck.length === 0
    ? ''
    : `; ${stuck.map(({ cpu, rip, symbol }) => `CPU ${cpu} at ${symbol ?? hex(rip)}`).join(', ')}`

/** TDX ended as the scenario says and as the model predicts. */
export const checkOutcome = check('outcome', ['console'], context => {
  const { expect, record, facts, prediction } = context
  if (expect.panic !== undefined || record.end !== 'settled') return []
  const seen = observeEnding(facts, record)
  if (expect.outcome === 'predicted')
    return [...checkPrediction(context, seen), ...checkOpen(context, seen)]
  if (meets(expect, seen)) return checkPrediction(context, seen)
  const found = describeEnding(seen)
  const expected = describeEnding({
    outcome: expect.outcome,
    stage: expect.stage ?? null,
    errno: expect.errno ?? null,
  })
  const hint = prediction.outcome
    ? `; the model predicts ${describeEnding(prediction.outcome)}: ${prediction.outcome.why}`
    : `; the model leaves it open: ${prediction.open ?? 'no reason'}`
  const { message } = facts.tdx
  return [
    fail(
      'outcome',
      `TDX: expected ${expected}, found ${found}${message ? ` ('${message}')` : ''}${failedCall(record)}${hint}`,
      { expected, found, ...at(facts) },
    ),
  ]
})

/** The line that decided. */
const at = ({ tdx }: Facts): Pick<Reason, 'line'> =>
  tdx.at.message === null ? {} : { line: tdx.at.message }

/** What the scenario and the model expect of one part of the outcome. */
const expectedOf = (
  { expect, prediction }: Context,
  part: 'stage' | 'errno',
): boolean =>
  (expect[part] ?? null) !== null ||
  (prediction.outcome?.[part] ?? null) !== null

const settledFailure = ({ expect, record, facts }: Context): boolean =>
  expect.panic === undefined &&
  record.end === 'settled' &&
  facts.tdx.outcome === 'failed'

/** Part of {@link checkOutcome}: a kernel need not say at what it failed. */
export const checkStage = check('outcome-stage', ['console'], context => {
  const { facts, record } = context
  const { stage } = observeEnding(facts, record)
  const hidden = stage === null && record.witnesses.module === null
  return settledFailure(context) && hidden && expectedOf(context, 'stage')
    ? unseen('module')
    : []
})

/** Part of {@link checkOutcome}: its caller is told the errno, not the log. */
export const checkErrno = check('outcome-errno', ['console'], context => {
  const { errnoSeen } = observeEnding(context.facts, context.record)
  return settledFailure(context) && !errnoSeen && expectedOf(context, 'errno')
    ? unseen('steps')
    : []
})

/** What the module answered, where the kernel may not say it. */
const failedCall = ({ witnesses }: BootRecord): string => {
  const call = witnesses.module?.seamcalls.findLast(
    ({ leaf, status }) => status !== 0n && leaf !== LEAF.SYS_DISABLE,
  )
  if (!call) return ''
  const { leaf, status } = call
  const answer =
    status === null ? 'VMfailInvalid' : (statusName(status) ?? hex(status))
  return `; ${leafName(leaf)} returned ${answer}`
}

const meets = (
  { outcome, stage, errno }: Expectation,
  seen: ObservedEnding,
): boolean =>
  seen.outcome === outcome &&
  (stage === undefined || isAt(seen, stage)) &&
  (errno === undefined || hasErrno(seen, errno))

/** What the model leaves open ends in one of the ways it knows. */
const checkOpen = ({ prediction }: Context, seen: ObservedEnding): Reason[] => {
  const { open = '', possible } = prediction
  if (!possible) return []
  const { stages, initialized } = possible
  const known =
    seen.outcome === 'initialized'
      ? initialized
      : seen.outcome === 'failed' && stages.some(stage => isAt(seen, stage))
  if (known) return []
  const ways = `${initialized ? 'initialized or ' : ''}failed at ${stages.join('|')}`
  return [
    fail(
      'prediction',
      `TDX: the model predicts ${ways} (${open}), found ${describeEnding(seen)}`,
    ),
  ]
}

const checkPrediction = (
  { facts, prediction }: Context,
  seen: ObservedEnding,
): Reason[] => {
  const { outcome: predicted } = prediction
  if (!predicted) return []
  const agrees =
    seen.outcome === predicted.outcome &&
    hasErrno(seen, predicted.errno) &&
    (predicted.stage === null
      ? seen.stage === null
      : isAt(seen, predicted.stage))
  if (!agrees) {
    const expected = describeEnding(predicted)
    const found = describeEnding(seen)
    return [
      fail(
        'prediction',
        `TDX: the model predicts ${expected} (${predicted.why}), found ${found}`,
        { expected, found, ...at(facts) },
      ),
    ]
  }
  const { failedRange } = facts.tdx
  if (!predicted.range || !failedRange) return []
  const expected = formatRange(predicted.range)
  const found = formatRange(failedRange)
  return expected === found
    ? []
    : [
        fail(
          'prediction',
          `what fails: predicted ${expected}, the kernel names ${found}`,
          { expected, found },
        ),
      ]
}
