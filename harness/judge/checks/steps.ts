import type { Facts } from '../../console/facts.ts'
import type { StepReport } from '../../guest/protocol.ts'
import type { ModuleWitness } from '../../machine/record.ts'
import {
  type Poisoned,
  type UpdateResult,
  poisonedBy,
} from '../../scenario/steps.ts'
import { PROFILES, type ProfileName } from '../../tdx/profile.ts'
import {
  type Context,
  type JudgedCase,
  type Reason,
  check,
  unseen,
} from '../context.ts'

/** What came of the steps that have nothing to do with memory. */

/** What init said about a step. */
export const reportOf = <Kind extends StepReport['kind']>(
  { guest }: Pick<Facts, 'guest'>,
  step: number,
  kind: Kind,
): (StepReport & { readonly kind: Kind }) | undefined =>
  guest.steps.find(
    (report): report is StepReport & { readonly kind: Kind } =>
      report.step === step && report.kind === kind,
  )

export type Stepped = Pick<Context, 'facts'> & {
  readonly item: Pick<JudgedCase, 'steps'>
}

/** What came of an update of the module, as init and the kernel told it. */
interface ObservedUpdate {
  readonly result: UpdateResult
  /** Of the module that runs, as the kernel prints it. */
  readonly version: string
  readonly text: string
}

const observedUpdates = ({
  item,
  facts,
}: Stepped): (ObservedUpdate | undefined)[] =>
  item.steps.flatMap((step, i) => {
    if (step.kind !== 'update') return []
    const report = reportOf(facts, i, 'update')
    if (!report) return [undefined]
    const { error, version } = report
    const result =
      error === 'none'
        ? 'done'
        : error === 'unavailable'
          ? 'unavailable'
          : 'refused'
    return [{ result, version, text: `${result} (${error})` }]
  })

/** `updated to 1.5.34`, `update refused`, for people. */
export const updateResults = (stepped: Stepped): string[] =>
  observedUpdates(stepped).map(update => {
    if (!update) return 'update without a report'
    return update.result === 'done'
      ? `updated to ${update.version}`
      : `update ${update.result}`
  })

/** A module is updated, or stays, as it must. */
export const checkUpdates = check('update', ['console', 'steps'], context => {
  const { prediction, expect, record } = context
  if (record.end !== 'settled') return []
  return observedUpdates(context).flatMap((seen, i): Reason[] => {
    const reason = (who: string, expected: string, found: string): Reason => ({
      kind: 'fail',
      check: 'update',
      expected,
      found,
      message: `update ${i + 1} of the module: ${who} ${expected}, found ${found}`,
    })
    const found = seen?.text ?? 'no report'
    const wanted = expect.updates?.[i]
    if (wanted !== undefined && seen?.result !== wanted)
      return [reason('expected', wanted, found)]
    const predicted = prediction.updates[i]
    if (!predicted) return []
    if (seen?.result !== predicted.result)
      return [reason('the model predicts', predicted.result, found)]
    const version = versionOf(predicted.module)
    return predicted.result === 'unavailable' || seen.version === version
      ? []
      : [
          reason(
            'the model predicts that the kernel says version',
            version,
            seen.version,
          ),
        ]
  })
})

/** As the kernel prints it: `1.5.05`; none when no module answers. */
const versionOf = (module: ProfileName | null): string => {
  if (module === null) return 'none'
  const { majorVersion, minorVersion, updateVersion } = PROFILES[module]
  return `${majorVersion}.${minorVersion}.${String(updateVersion).padStart(2, '0')}`
}

/** What a kernel answers when it is asked again. */
export const checkRetries = check(
  'retry',
  ['console', 'steps'],
  ({ facts, record, prediction }) => {
    if (record.end !== 'settled') return []
    const { retries } = facts.guest
    return prediction.retries.flatMap((predicted, i): Reason[] => {
      const seen = retries[i]
      const found = seen && ((seen.cpuEnable ?? 0) || (seen.enable ?? 0))
      if (seen && (predicted.errno === undefined || predicted.errno === found))
        return []
      const expected = String(predicted.errno ?? 'an answer')
      return [
        {
          kind: 'fail',
          check: 'retry',
          expected,
          found: String(found ?? 'no report'),
          message: `retry ${i + 1}: the model predicts ${expected} (${predicted.why}), found ${found ?? 'no report'}`,
        },
      ]
    })
  },
)

/** CPUs that were to go offline did. */
export const checkOffline = check(
  'offline',
  ['console', 'steps'],
  ({ item, facts, record }) =>
    item.steps.flatMap((step, i): Reason[] => {
      if (step.kind !== 'offline' || record.end !== 'settled') return []
      const errno = reportOf(facts, i, 'offline')?.errno
      return errno === 0
        ? []
        : [
            {
              kind: 'fail',
              check: 'offline',
              message: `CPU ${step.cpu}: expected it to go offline, found ${errno === undefined ? 'no report' : `errno ${errno}`}`,
            },
          ]
    }),
)

/** mce_panic() (arch/x86/kernel/cpu/mce/core.c) */
export const FATAL_MACHINE_CHECK = 'Fatal machine check'

/** A kernel says of a machine check whether TDX private memory caused it. */
export const checkMachineCheck = check(
  'machine-check',
  ['console'],
  ({ item, facts, record, prediction: { machineCheck } }) => {
    const came = facts.incidents.some(({ text }) =>
      text.includes(FATAL_MACHINE_CHECK),
    )
    // That none came is told where the boot's end is looked at.
    if (!machineCheck || !came) return []
    const { module } = record.witnesses
    if (machineCheck.isPrivate === undefined && module === null)
      return unseen('module')
    const said = facts.incidents.find(({ kind }) => kind === 'machine check')
    const isPrivate =
      machineCheck.isPrivate ??
      isInPamt(poisonedBy(item.steps), module?.tdmrs ?? null)
    if ((said !== undefined) === isPrivate) return []
    const expected = isPrivate
      ? 'the machine check is laid to TDX private memory'
      : 'TDX private memory is not blamed for the machine check'
    return [
      {
        kind: 'fail',
        check: 'machine-check',
        message: `the model predicts that ${expected} (${machineCheck.why}), found ${said ? `'${said.text}'` : 'no word of it'}`,
        ...(said && { line: said.line }),
      },
    ]
  },
)

const isInPamt = (
  at: Poisoned | undefined,
  tdmrs: ModuleWitness['tdmrs'],
): boolean =>
  typeof at === 'number' &&
  (tdmrs ?? []).some(({ pamt }) =>
    pamt.some(({ base, size }) => at >= base && at < base + size),
  )

/** A kernel that was to start another one did. */
export const checkKexec = check(
  'kexec',
  ['console', 'steps'],
  ({ item, facts, record, nextFacts }) =>
    item.steps.flatMap((step, i): Reason[] => {
      if (step.kind !== 'kexec' || record.end !== 'settled' || nextFacts)
        return []
      const errno = reportOf(facts, i, 'kexec')?.errno
      return [
        {
          kind: 'fail',
          check: 'kexec',
          message: `kexec: expected another kernel to begin, ${errno === undefined ? 'no report was found' : errno === 0 ? 'it was loaded, and never said anything' : `kexec_file_load() returned ${errno}`}`,
        },
      ]
    }),
)
