import PQueue from 'p-queue'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import {
  type CaseOutcome,
  type JudgedOutcome,
  verdictOf,
} from '../judge/case-outcome.ts'
import { judge } from '../judge/judge.ts'
import { type Prediction, optionsOf, predictCase } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import type { BootRecord } from '../machine/record.ts'
import type { Case } from '../scenario/case.ts'
import type { Series } from '../tdx/series/index.ts'
import { evidenceOf } from './evidence.ts'
import {
  type PreparedKernel,
  initialisesTdx,
  initramfsFor,
  stepsOn,
} from './kernels.ts'
import type { Workspace } from './workspace.ts'

/** A kernel that was not prepared: its cases are skipped. */
export interface MissingKernel {
  /** As its recipe states it. */
  readonly series: Series | undefined
  readonly message: string
}

/** A case on its kernel. */
export interface Failure {
  readonly outcome: CaseOutcome
  readonly kernel: PreparedKernel
}

export interface RunOptions {
  readonly cases: readonly Case[]
  readonly machine: Machine
  readonly kernels: ReadonlyMap<string, PreparedKernel>
  /** Kernels that cannot be had here, by name; default: none. */
  readonly missing?: ReadonlyMap<string, MissingKernel>
  readonly workspace: Pick<Workspace, 'directory'>
  readonly jobs: number
  readonly signal: AbortSignal
  /**
   * Keeps the console of a boot. @returns its path, as reports show it; null:
   * there is none. Default: it stays in the workspace.
   */
  readonly keepConsole?: (
    id: string,
    record: BootRecord,
  ) => Promise<string | null>
  readonly onStart?: (item: Case) => void
  /** Told of each case as it is finished. */
  readonly onOutcome?: (outcome: CaseOutcome) => void | Promise<void>
  /** Told of every case that was tried and did not pass; must not throw. */
  readonly onFailure?: (failure: Failure) => Promise<void>
  /** The model; tests put another in its place. */
  readonly predict?: typeof predictCase
}

/**
 * Boots and judges cases, `jobs` at a time. A case that fails never stops the
 * others.
 *
 * @returns what came of them, in the order of the cases; when the signal came,
 *   of those that were finished
 */
export const runCases = async (options: RunOptions): Promise<CaseOutcome[]> => {
  const { cases, jobs, signal, onStart, onOutcome } = options
  const queue = new PQueue({ concurrency: jobs })
  const outcomes = await Promise.all(
    cases.map((item, index) =>
      queue.add(async () => {
        if (signal.aborted) return undefined
        onStart?.(item)
        const outcome = await runCase(item, index, options)
        if (outcome) await onOutcome?.(outcome)
        return outcome
      }),
    ),
  )
  return outcomes.filter(outcome => outcome !== undefined)
}

const runCase = async (
  item: Case,
  index: number,
  options: RunOptions,
): Promise<CaseOutcome | undefined> => {
  const { predict = predictCase } = options
  const missing = options.missing?.get(item.kernel)
  if (missing)
    return {
      kind: 'skip',
      item,
      kernel: { name: item.kernel, key: 'missing', build: undefined },
      prediction: predict(
        item,
        missing.series ? optionsOf(missing.series) : { series: undefined },
      ),
      message: missing.message,
    }
  const kernel = options.kernels.get(item.kernel)
  if (!kernel) throw new TypeError(`kernel ${item.kernel} was not prepared`)
  const prediction = predict(item, kernel)
  const { name, key, build } = kernel
  const tried = { item, kernel: { name, key, build }, prediction }
  const unable = unableTo(item, options.machine)
  if (unable !== undefined) return { ...tried, kind: 'skip', message: unable }
  if (kernel.hostsTdx && !initialisesTdx(kernel) && asksForTdx(item))
    return {
      ...tried,
      kind: 'skip',
      message: `there is no trigger module for this kernel: ${kernel.built.noTrigger ?? ''}`,
    }
  if (lacksUpdateDevice(kernel, item))
    return {
      ...tried,
      kind: 'skip',
      message:
        'the scenario updates the TDX module, and this kernel was given without its tdx-host.ko: give its package or /lib/modules/VERSION',
    }
  let outcome: CaseOutcome
  try {
    outcome = await bootAndJudge({ item, kernel, prediction, index }, options)
  } catch (error) {
    if (options.signal.aborted) return undefined
    outcome = { ...tried, kind: 'error', message: errorText(error) }
  }
  if (verdictOf(outcome) !== 'pass')
    await options.onFailure?.({ outcome, kernel })
  return outcome
}

/** One case must not end the others, not even by a defect of the rig. */
const errorText = (error: unknown): string => {
  if (error instanceof RigError || systemCode(error) !== undefined)
    return messageOf(error)
  const trace = error instanceof Error ? error.stack : undefined
  return `a defect of tdxrig itself: ${trace ?? messageOf(error)}`
}

/** Why this machine cannot do what the case asks for. */
const unableTo = (
  { platform, unsuitable }: Case,
  { description, witnesses }: Machine,
): string | undefined =>
  unsuitable ??
  (platform.faults.length > 0 && !witnesses.has('module')
    ? `the scenario has faults of the module, and the module of this machine (${description}) cannot be told to fail`
    : undefined)

/** A kernel has the device in itself, or as a module that must be at hand. */
const lacksUpdateDevice = (
  { hostsTdx, series, programs, image }: PreparedKernel,
  { steps }: Case,
): boolean =>
  hostsTdx &&
  series?.updatesModule === true &&
  steps.some(({ kind }) => kind === 'update') &&
  programs.tdxHost === undefined &&
  image.symbol('tdx_host_init') === undefined

const asksForTdx = ({ steps }: Case): boolean =>
  steps.some(({ kind }) => kind === 'trigger')

interface Attempt {
  readonly item: Case
  readonly kernel: PreparedKernel
  readonly prediction: Prediction
  readonly index: number
}

const bootAndJudge = async (
  { item, kernel, prediction, index }: Attempt,
  { machine, workspace, keepConsole = leave, signal }: RunOptions,
): Promise<JudgedOutcome> => {
  const directory = await workspace.directory(String(index))
  const steps = stepsOn(kernel, item.steps)
  const record = await machine.boot(
    {
      kernel,
      machine: item.machine,
      platform: item.platform,
      words: item.words,
      steps,
      initramfs: await initramfsFor(kernel, steps, directory),
      directory,
    },
    signal,
  )
  const evidence = await evidenceOf(record)
  const { name, key, build } = kernel
  return {
    kind: 'judged',
    item,
    kernel: { name, key, build },
    prediction,
    judgement: judge({ item, kernel, prediction, evidence }),
    evidence,
    console: await keepConsole(item.id, record),
  }
}

const leave = (_: string, { witnesses }: BootRecord): Promise<string | null> =>
  Promise.resolve(witnesses.console?.path ?? null)
