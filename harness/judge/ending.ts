import { formatRange } from '../memory/range.ts'
import type { BootRecord } from '../machine/machine.ts'
import { hex } from '../base/units.ts'
import { leafName } from '../tdx/leaves.ts'
import type { Check, Context, Reason } from './context.ts'

/** How the boot ended, and what became of TDX. */

const fail = (
  check: string,
  message: string,
  details: Partial<Reason> = {},
): Reason => ({ kind: 'fail', check, message, ...details })

/** The kernel came to a result by itself. */
export const checkEnd: Check = ({ record, item }) => {
  if (record.facts.kernel === null && record.facts.incidents.length === 0)
    return [fail('end', `the kernel printed nothing; ${describeEnd(record)}`)]
  if (item.expect.panic !== undefined)
    return checkPanic(record, item.expect.panic)
  const trouble = record.facts.incidents.map(({ kind, line, text }) =>
    fail(
      'incident',
      `the kernel reports a ${kind} (console line ${line}): ${text}`,
    ),
  )
  if (record.end === 'settled' || trouble.length > 0) return trouble
  return [fail('end', describeEnd(record))]
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
      return record.facts.initErrors.length > 0
        ? `the trigger did not run: ${record.facts.initErrors.join('; ')}`
        : `the guest powered off without a result of the trigger; ${said}`
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
  const { item, record, prediction } = context
  if (item.expect.panic !== undefined || record.end !== 'settled') return []
  const found = describeOutcome(record.facts.tdx)
  const expected = describeExpected(context)
  if (!meets(context)) {
    const hint = prediction.outcome
      ? `; the model predicts ${describeOutcome(prediction.outcome)}: ${prediction.outcome.why}`
      : ''
    const message = record.facts.tdx.message
    return [
      fail(
        'outcome',
        `TDX: expected ${expected}, found ${found}${message ? ` ('${message}')` : ''}${hint}`,
        { expected, found },
      ),
    ]
  }
  return checkPrediction(context)
}

interface OutcomeText {
  readonly outcome: string
  readonly stage: string | null
  readonly errno: number | null
}

const describeOutcome = ({ outcome, stage, errno }: OutcomeText): string =>
  `${outcome}${stage && stage !== 'done' ? ` at ${stage}` : ''}${errno === null ? '' : ` (${errno})`}`

const describeExpected = ({ item: { expect } }: Context): string =>
  describeOutcome({
    outcome: expect.outcome,
    stage: expect.stage ?? null,
    errno: expect.errno ?? null,
  })

const meets = ({ item: { expect }, record: { facts } }: Context): boolean =>
  facts.tdx.outcome === expect.outcome &&
  (expect.stage === undefined || facts.tdx.stage === expect.stage) &&
  (expect.errno === undefined || facts.tdx.errno === expect.errno)

const checkPrediction = ({ record, prediction }: Context): Reason[] => {
  const { outcome: predicted } = prediction
  const { tdx } = record.facts
  if (!predicted) return []
  const expected = describeOutcome(predicted)
  const found = describeOutcome(tdx)
  if (expected !== found)
    return [
      fail(
        'prediction',
        `TDX: the model predicts ${expected} (${predicted.why}), found ${found}`,
        {
          expected,
          found,
        },
      ),
    ]
  if (!predicted.tdmr || !tdx.failedTdmr) return []
  const left = formatRange(predicted.tdmr)
  const right = formatRange(tdx.failedTdmr)
  return left === right
    ? []
    : [
        fail(
          'prediction',
          `the TDMR that fails: predicted ${left}, the kernel names ${right}`,
          {
            expected: left,
            found: right,
          },
        ),
      ]
}
