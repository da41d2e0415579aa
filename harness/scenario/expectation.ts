import type { Outcome, Stage } from '../tdx/outcome.ts'
import type { NodeRange } from '../memory/range.ts'
import type { SeriesName } from '../tdx/series/index.ts'
import type { Problem } from './problem.ts'
import type { Cell } from './schema.ts'
import type { UpdateResult } from './steps.ts'

/** What a case must show; undefined leaves it to the prediction. */
export interface Expectation {
  /** `predicted`: whatever the model says. */
  readonly outcome: Outcome | 'predicted'
  readonly stage: Stage | undefined
  readonly errno: number | undefined
  readonly regions: readonly NodeRange[] | undefined
  readonly pamtKib: number | undefined
  /** Memory that the kernel must refuse to put online. */
  readonly refused: readonly string[] | undefined
  /** Memory that the kernel must refuse to take offline. */
  readonly staysOnline: readonly string[] | undefined
  /** What must come of each update of the module, in order. */
  readonly updates: readonly UpdateResult[] | undefined
  /** After a failure all memory must be freed. */
  readonly freed: boolean
  /** Text of the warning that the kernel must print. */
  readonly warning: string | undefined
  /** The leaf at which the kernel must hang. */
  readonly hangs: string | undefined
  /** Text of the panic that must end the boot. */
  readonly panic: string | undefined
  /** Of the kernel of a kexec step; undefined: what the model predicts. */
  readonly next?: Expectation | undefined
}

type Expect = Cell['expect']['on'][SeriesName] & object

/** As a kernel is expected that nothing is said of. */
export const AS_PREDICTED: Expectation = {
  outcome: 'predicted',
  stage: undefined,
  errno: undefined,
  regions: undefined,
  pamtKib: undefined,
  refused: undefined,
  staysOnline: undefined,
  updates: undefined,
  freed: false,
  warning: undefined,
  hangs: undefined,
  panic: undefined,
}

export const expectationOf = (expect: Expect): Expectation => ({
  outcome: expect.tdx,
  stage: expect.stage,
  errno: expect.errno,
  regions: expect.regions,
  pamtKib: expect.pamtKiB,
  refused: expect.refused,
  staysOnline: expect.staysOnline,
  updates: expect.updates,
  freed: expect.freed === true,
  warning: expect.warning,
  hangs: expect.hangs,
  panic: expect.panic,
  next: expect.kexec && expectationOf(expect.kexec),
})

/** Expectations that no boot can meet. */
export const expectProblems = (
  { steps }: Pick<Cell, 'steps'>,
  expect: Expect,
  at: Problem['at'],
): Problem[] => {
  const { tdx, stage, errno, hangs, panic } = expect
  const problems: Problem[] = (expect.regions ?? []).flatMap(
    ({ start, end }, i) =>
      start < end
        ? []
        : [
            {
              at: [...at, 'regions', i],
              message: 'expected start below end (end is the first byte after)',
            },
          ],
  )
  const contradiction = (key: string, message: string): void => {
    problems.push({ at: [...at, key], message })
  }
  if (errno !== undefined && tdx !== 'failed')
    contradiction('errno', `only 'tdx: failed' has an errno, not '${tdx}'`)
  if (tdx === 'predicted' && (stage ?? panic) !== undefined)
    contradiction(
      stage === undefined ? 'panic' : 'stage',
      "with 'tdx: predicted' it is the model that says how it ends",
    )
  else if (
    stage !== undefined &&
    (stage === 'done') !== (tdx === 'initialized')
  )
    contradiction('stage', `'stage: ${stage}' contradicts 'tdx: ${tdx}'`)
  if (panic !== undefined && (stage ?? errno ?? expect.regions) !== undefined)
    contradiction('panic', 'a kernel that panics has no other result')
  const kexecs = steps.some(step => typeof step === 'object' && 'kexec' in step)
  if (expect.kexec !== undefined && !kexecs)
    contradiction('kexec', 'no step starts another kernel with kexec')
  if (expect.kexec) {
    // As predicted is what nothing is said of: a panic says enough.
    const { panic, tdx } = expect.kexec
    const said = panic !== undefined && tdx === 'predicted' ? 'absent' : tdx
    problems.push(
      ...expectProblems({ steps: [] }, { ...expect.kexec, tdx: said }, [
        ...at,
        'kexec',
      ]),
    )
  }
  if (hangs !== undefined && (stage ?? errno ?? panic) !== undefined)
    contradiction('hangs', 'a kernel that hangs has no other result')
  const updates = steps.filter(
    step => typeof step === 'object' && 'update' in step,
  ).length
  if (expect.updates !== undefined && expect.updates.length !== updates)
    contradiction(
      'updates',
      `expected ${updates} results, one for each update step, found ${expect.updates.length}`,
    )
  const unknown = expect.refused?.find(
    name =>
      !steps.some(
        step =>
          typeof step === 'object' && 'online' in step && step.online === name,
      ),
  )
  if (unknown !== undefined)
    contradiction('refused', `no step puts '${unknown}' online`)
  const kept = expect.staysOnline?.find(
    name => !steps.some(step => takesOffline(step, name)),
  )
  if (kept !== undefined)
    contradiction('staysOnline', `no step takes '${kept}' offline`)
  return problems
}

const takesOffline = (step: Cell['steps'][number], name: string): boolean => {
  if (typeof step === 'string') return false
  if ('unplug' in step) return step.unplug === name
  if (!('offline' in step)) return false
  const { offline } = step
  return typeof offline === 'object' ? offline.name === name : offline === name
}
