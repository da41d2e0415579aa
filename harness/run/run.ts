import PQueue from 'p-queue'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import { judge } from '../judge/judge.ts'
import { type Prediction, predictCase } from '../judge/prediction.ts'
import type { BootRecord, Machine } from '../machine/machine.ts'
import { type Again, judgedCase, unjudgedCase } from '../report/document.ts'
import type { CaseResult } from '../report/schema.ts'
import type { Case } from '../scenario/case.ts'
import type { Failure } from './bundle.ts'
import { type PreparedKernel, initramfsFor } from './kernels.ts'
import type { ResultStore } from './store.ts'
import type { Workspace } from './workspace.ts'

/** What a run tells while it runs. */
export interface RunEvents {
  readonly onStart: (item: Case) => void
  readonly onResult: (item: Case, result: CaseResult) => void
}

export interface RunOptions {
  readonly cases: readonly Case[]
  readonly machine: Machine
  readonly kernels: ReadonlyMap<string, PreparedKernel>
  readonly workspace: Pick<Workspace, 'directory'>
  readonly store: Pick<ResultStore, 'keepConsole'>
  readonly jobs: number
  /** How a case is run again, without the kernel's options. */
  readonly again: Again
  readonly signal: AbortSignal
  readonly events: RunEvents
  /** Told of every case that was tried and did not pass; must not throw. */
  readonly onFailure?: (failure: Failure) => Promise<void>
  /** The model; tests put another in its place. */
  readonly predict?: typeof predictCase
}

/**
 * Boots and judges cases, `jobs` at a time. A case that fails never stops the
 * others.
 *
 * @returns the results in the order of the cases; when the signal came, those
 *   that were finished
 */
export const runCases = async (options: RunOptions): Promise<CaseResult[]> => {
  const { cases, jobs, signal, events } = options
  const queue = new PQueue({ concurrency: jobs })
  const results = await Promise.all(
    cases.map((item, index) =>
      queue.add(async () => {
        if (signal.aborted) return undefined
        events.onStart(item)
        const result = await runCase(item, index, options)
        if (result) events.onResult(item, result)
        return result
      }),
    ),
  )
  return results.filter(result => result !== undefined)
}

const runCase = async (
  item: Case,
  index: number,
  options: RunOptions,
): Promise<CaseResult | undefined> => {
  const kernel = options.kernels.get(item.kernel)
  if (!kernel) throw new TypeError(`kernel ${item.kernel} was not prepared`)
  const { predict = predictCase } = options
  const prediction = predict(item, {
    series: kernel.series,
    failsRegions: kernel.failsRegions,
    kernelImage: kernel.kernelRange,
  })
  const again = {
    ...options.again,
    flags: [...kernelFlags(kernel), ...options.again.flags],
  }
  if (!kernel.programs.trigger && needsTrigger(item))
    return unjudgedCase(
      item,
      prediction,
      again,
      'skip',
      `there is no trigger module for this kernel: ${kernel.built.noTrigger ?? ''}`,
    )
  const { result, record } = await bootAndJudge(
    item,
    kernel,
    prediction,
    index,
    again,
    options,
  ).catch((error: unknown) => ({
    result: failedCase(item, prediction, again, error),
    record: undefined,
  }))
  if (options.signal.aborted && !record) return undefined
  if (result.verdict !== 'pass')
    await options.onFailure?.({ item, kernel, result, record })
  return result
}

/** One case must not end the others, not even by a defect of ours. */
const failedCase = (
  item: Case,
  prediction: Prediction,
  again: Again,
  error: unknown,
): CaseResult => {
  const ours = error instanceof RigError || systemCode(error) !== undefined
  const text = ours
    ? messageOf(error)
    : `a defect of tdxrig itself: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
  return unjudgedCase(item, prediction, again, 'error', text)
}

const needsTrigger = ({ steps }: Case): boolean =>
  steps.some(({ kind }) => kind === 'trigger')

/** How the command line names a kernel. */
const kernelFlags = ({ name, folder }: PreparedKernel): string[] =>
  folder === undefined ? ['--kernel', name] : ['--kernel-build', folder]

const bootAndJudge = async (
  item: Case,
  kernel: PreparedKernel,
  prediction: Prediction,
  index: number,
  again: Again,
  { machine, workspace, store, signal }: RunOptions,
): Promise<{ result: CaseResult; record: BootRecord }> => {
  const directory = await workspace.directory(String(index))
  const { machine: spec, platform, words, steps } = item
  const record = await machine.boot(
    {
      kernel,
      platform,
      words,
      steps,
      directory,
      machine: spec,
      initramfs: await initramfsFor(kernel, steps, directory),
    },
    signal,
  )
  const result = judgedCase(
    item,
    judge(item, kernel, prediction, record),
    record,
    await store.keepConsole(item.id, record),
    again,
  )
  return { result, record }
}
