import PQueue from 'p-queue'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import { judge } from '../judge/judge.ts'
import { type Prediction, predictCase } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import { failedCase, judgedCase } from '../report/document.ts'
import type { CaseResult } from '../report/schema.ts'
import type { Case } from '../scenario/case.ts'
import type { PreparedKernel } from './kernels.ts'
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
  readonly workspace: Workspace
  readonly store: ResultStore
  readonly jobs: number
  /** Options that a run of one case alone must repeat. */
  readonly flags: readonly string[]
  readonly signal: AbortSignal
  readonly events: RunEvents
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
  const prediction = predictCase(item, kernel?.kernelRange)
  try {
    return await bootAndJudge(item, prediction, index, options)
  } catch (error) {
    if (options.signal.aborted) return undefined
    // One case must not end the others, not even by a defect of ours.
    const ours = error instanceof RigError || systemCode(error) !== undefined
    const text = ours
      ? messageOf(error)
      : `a defect of tdxrig itself: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    return failedCase(item, prediction, options.flags, text)
  }
}

const bootAndJudge = async (
  item: Case,
  prediction: Prediction,
  index: number,
  { machine, kernels, workspace, store, signal, flags }: RunOptions,
): Promise<CaseResult> => {
  const kernel = kernels.get(item.kernel)
  if (!kernel) throw new TypeError(`kernel ${item.kernel} was not prepared`)
  const record = await machine.boot(
    {
      kernel,
      machine: item.machine,
      platform: item.platform,
      words: item.words,
      directory: await workspace.directory(String(index)),
    },
    signal,
  )
  return judgedCase(
    item,
    judge(item, prediction, record),
    record,
    await store.keepConsole(item.id, record),
    flags,
  )
}
