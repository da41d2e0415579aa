import { formatRange } from '../../memory/range.ts'
import type { BootRecord } from '../../machine/machine.ts'
import { hex } from '../../base/units.ts'
import { leafName } from '../../tdx/leaves.ts'
import { statusName } from '../../tdx/status.ts'
import type { Expectation } from '../../scenario/expectation.ts'
import type { Check, Context, Reason } from '../context.ts'
import { waitsForDimm } from './steps.ts'
import { type Observed, describe, isAt, observe } from '../observed-ending.ts'

/** How the boot ended, and what became of TDX. */

const fail = (
  check: string,
  message: string,
  details: Partial<Reason> = {},
): Reason => ({ kind: 'fail', check, message, ...details })

/** The kernel came to a result by itself. */
export const checkEnd: Check = ({ record, item, expect }) => {
  if (record.facts.kernel === null && record.facts.incidents.length === 0)
    return [fail('end', `the kernel printed nothing; ${describeEnd(record)}`)]
  if (expect.panic !== undefined) return checkPanic(record, expect.panic)
  const trouble = record.facts.incidents.map(({ kind, line, text }) =>
    fail(
      'incident',
      `the kernel reports ${/^[aeiou]/.test(kind) ? 'an' : 'a'} ${kind} (console line ${line}): ${text}`,
    ),
  )
  if (trouble.length > 0 || waitsForDimm({ item, record })) return trouble
  return record.end === 'settled'
    ? checkSteps(record, item)
    : [fail('end', describeEnd(record))]
}

/** Every step was gone through, and the trigger said how it went. */
const checkSteps = (
  { facts }: BootRecord,
  { steps }: Context['item'],
): Reason[] => {
  // A trigger the kernel does not load is its fault; for all other steps the
  // machine or the rig lacks something.
  const [refused, lacking] = [true, false].map(trigger =>
    facts.guest.complaints.filter(text => text.includes('trigger') === trigger),
  ) as [string[], string[]]
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
  return facts.guest.trigger === null &&
    steps.some(({ kind }) => kind === 'trigger')
    ? [fail('end', 'the trigger ran, and said nothing')]
    : []
}

const checkPanic = ({ facts }: BootRecord, text: string): Reason[] => {
  const panic = facts.incidents.find(({ kind }) => kind === 'panic')
  if (!panic)
    return [
      fail(
        'panic',
        `expected the kernel to panic with '${text}', it did not panic`,
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

const describeEnd = (record: BootRecord): string => {
  const last = record.tail.findLast(line => line !== '') ?? 'nothing'
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
    case 'exited':
    case 'settled':
      return record.facts.guest.complaints.length > 0
        ? `a step failed: ${record.facts.guest.complaints.join('; ')}`
        : `the guest powered off before all steps were done; ${said}`
  }
}

const lastSeamcall = ({ seamcalls }: BootRecord): string => {
  const last = seamcalls.at(-1)
  return last
    ? `; the last SEAMCALL was ${leafName(last.leaf)} on CPU ${last.cpu}`
    : ''
}

const whereStuck = ({ stuck }: BootRecord): string =>
  stuck.length === 0
    ? ''
    : `; ${stuck.map(({ cpu, rip, symbol }) => `CPU ${cpu} at ${symbol ?? hex(rip)}`).join(', ')}`

/** TDX ended as the scenario says and as the model predicts. */
export const checkOutcome: Check = context => {
  const { expect, record, prediction } = context
  if (expect.panic !== undefined || record.end !== 'settled') return []
  const seen = observe(record)
  if (expect.outcome === 'predicted')
    return [...checkPrediction(context, seen), ...checkOpen(context, seen)]
  if (meets(expect, seen)) return checkPrediction(context, seen)
  const found = describe(seen)
  const expected = describe({
    outcome: expect.outcome,
    stage: expect.stage ?? null,
    errno: expect.errno ?? null,
  })
  const hint = prediction.outcome
    ? `; the model predicts ${describe(prediction.outcome)}: ${prediction.outcome.why}`
    : `; the model leaves it open: ${prediction.open ?? 'no reason'}`
  const { message } = record.facts.tdx
  return [
    fail(
      'outcome',
      `TDX: expected ${expected}, found ${found}${message ? ` ('${message}')` : ''}${failedCall(record)}${hint}`,
      { expected, found },
    ),
  ]
}

/** What the module answered, where the kernel may not say it. */
const failedCall = ({ seamcalls }: BootRecord): string => {
  const call = seamcalls.findLast(({ status }) => status !== 0n)
  if (!call) return ''
  const { leaf, status } = call
  const answer =
    status === null ? 'VMfailInvalid' : (statusName(status) ?? hex(status))
  return `; ${leafName(leaf)} returned ${answer}`
}

const meets = (
  { outcome, stage, errno }: Expectation,
  seen: Observed,
): boolean =>
  seen.outcome === outcome &&
  (stage === undefined || isAt(seen, stage)) &&
  (errno === undefined || seen.errno === errno)

/** What the model leaves open ends in one of the ways it knows. */
const checkOpen = ({ prediction }: Context, seen: Observed): Reason[] => {
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
      `TDX: the model predicts ${ways} (${open}), found ${describe(seen)}`,
    ),
  ]
}

const checkPrediction = (
  { record, prediction }: Context,
  seen: Observed,
): Reason[] => {
  const { outcome: predicted } = prediction
  if (!predicted) return []
  const agrees =
    seen.outcome === predicted.outcome &&
    seen.errno === predicted.errno &&
    (predicted.stage === null
      ? seen.stage === null
      : isAt(seen, predicted.stage))
  if (!agrees) {
    const expected = describe(predicted)
    const found = describe(seen)
    return [
      fail(
        'prediction',
        `TDX: the model predicts ${expected} (${predicted.why}), found ${found}`,
        { expected, found },
      ),
    ]
  }
  const { failedRange } = record.facts.tdx
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
