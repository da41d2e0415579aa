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
import { type Case, expectationOn } from '../scenario/case.ts'
import { nextKernelOf } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'
import { Beginnings } from './beginnings.ts'
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

/** How often a case is booted. */
export interface AttemptRule {
  /** So many times, whatever comes: one that does not pass is reported. */
  readonly repeat: number
  /** Again, so many times, until it passes. */
  readonly retries: number
}

const ONCE: AttemptRule = { repeat: 1, retries: 0 }

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
  /** How often a case is booted; default: once. */
  readonly attempts?: AttemptRule
  /**
   * A boot may end when TDX is initialised, where nothing is asked of it that
   * comes later; default: it goes on until init has done its steps.
   */
  readonly stopAtOutcome?: boolean
  readonly onStart?: (item: Case) => void
  /** What a boot has come to: `kernel boots`. */
  readonly onStage?: (item: Case, stage: string) => void
  /** Told of each case as it is finished. */
  readonly onOutcome?: (
    outcome: CaseOutcome,
    attempts: readonly CaseOutcome[],
  ) => void | Promise<void>
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
  const { cases, jobs, machine } = options
  const queue = new PQueue({ concurrency: jobs })
  // Repeated boots begin at the firmware: nobody need wait for another.
  const shares =
    machine.sharesBeginnings === true && (options.attempts ?? ONCE).repeat === 1
  const shared = shares ? new Beginnings(cases) : undefined
  const outcomes = await Promise.all(
    cases.map(async (item, index) => {
      await shared?.turnOf(item)
      // Who has waited comes next: the report keeps the order of the cases,
      // more or less.
      const priority = shared?.isFirst(item) === false ? 1 : 0
      try {
        return await queue.add(() => outcomeOf(item, index, options, shared), {
          priority,
        })
      } finally {
        shared?.done(item)
      }
    }),
  )
  return outcomes.filter(outcome => outcome !== undefined)
}

/** @returns undefined after a signal */
const outcomeOf = async (
  item: Case,
  index: number,
  options: RunOptions,
  shared: Beginnings | undefined,
): Promise<CaseOutcome | undefined> => {
  const { signal, onStart, onOutcome } = options
  if (signal.aborted) return undefined
  onStart?.(item)
  const place = {
    index,
    beginsAgain: shared?.isShared(item) === true,
    onBooted: () => shared?.done(item),
  }
  const attempts = await attemptsAt(item, place, options)
  const outcome = reported(attempts, options)
  if (outcome) {
    await onOutcome?.(outcome, attempts)
    await tellFailure(outcome, options)
  }
  return outcome
}

/** Once for a case, however often it was booted. */
const tellFailure = async (
  outcome: CaseOutcome,
  { kernels, onFailure }: RunOptions,
): Promise<void> => {
  const kernel = kernels.get(outcome.item.kernel)
  const verdict = verdictOf(outcome)
  if (kernel && verdict !== 'pass' && verdict !== 'skip')
    await onFailure?.({ outcome, kernel })
}

/** @returns all that were finished; none after a signal */
const attemptsAt = async (
  item: Case,
  place: Place,
  options: RunOptions,
): Promise<CaseOutcome[]> => {
  const { repeat, retries } = options.attempts ?? ONCE
  const outcomes: CaseOutcome[] = []
  for (let number = 1; ; number++) {
    const outcome = await runCase(item, { ...place, number }, options)
    place.onBooted()
    // What was interrupted is booted anew when the run goes on.
    if (!outcome) return []
    outcomes.push(outcome)
    const verdict = verdictOf(outcome)
    const again =
      verdict === 'pass'
        ? number < repeat
        : number < Math.max(repeat, 1 + retries)
    if (verdict === 'skip' || !again) return outcomes
  }
}

/**
 * Of repeated boots the first that failed, of retries the one that passed or
 * the last that was judged: a fault of the rig hides no failure.
 */
const reported = (
  outcomes: readonly CaseOutcome[],
  { attempts = ONCE }: RunOptions,
): CaseOutcome | undefined => {
  const isFailure = (outcome: CaseOutcome): boolean =>
    outcome.kind === 'judged' && verdictOf(outcome) !== 'pass'
  const last = outcomes.at(-1)
  if (attempts.repeat > 1)
    return (
      outcomes.find(isFailure) ??
      outcomes.find(outcome => verdictOf(outcome) !== 'pass') ??
      last
    )
  return last && verdictOf(last) === 'error'
    ? (outcomes.findLast(isFailure) ?? last)
    : last
}

/** A case among those of a run. */
interface Place {
  readonly index: number
  /** Other boots of the run begin as its boots do. */
  readonly beginsAgain: boolean
  /** Told after each of its boots. */
  readonly onBooted: () => void
}

/** Which boot of which case. */
interface Numbered extends Place {
  /** From 1. */
  readonly number: number
}

const runCase = async (
  item: Case,
  numbered: Numbered,
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
  if (nextKernelOf(item.steps) && !startsOthers(kernel))
    return {
      ...tried,
      kind: 'skip',
      message:
        'the scenario starts another kernel, and this one cannot (CONFIG_KEXEC_FILE is not set), or has no bzImage',
    }
  let outcome: CaseOutcome
  try {
    outcome = await bootAndJudge(
      { item, kernel, prediction, numbered },
      options,
    )
  } catch (error) {
    if (options.signal.aborted) return undefined
    outcome = { ...tried, kind: 'error', message: errorText(error) }
  }
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
  { platform, allocations, steps, unsuitable }: Case,
  { description, witnesses, followsKexec }: Machine,
): string | undefined =>
  unsuitable ??
  (nextKernelOf(steps) && followsKexec !== true
    ? `the scenario starts another kernel with kexec, and this machine (${description}) does not follow it`
    : undefined) ??
  (platform.faults.length > 0 && !witnesses.has('module')
    ? `the scenario has faults of the module, and the module of this machine (${description}) cannot be told to fail`
    : undefined) ??
  (allocations && !witnesses.has('module')
    ? `the scenario follows what the kernel allocates, and this machine (${description}) cannot`
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

/** bzImage64_load() (arch/x86/kernel/kexec-bzimage64.c). */
const startsOthers = ({ image, bzImage }: PreparedKernel): boolean =>
  image.symbol('bzImage64_load') !== undefined && bzImage !== undefined

const asksForTdx = ({ steps }: Case): boolean =>
  steps.some(({ kind }) => kind === 'trigger')

interface Attempt {
  readonly item: Case
  readonly kernel: PreparedKernel
  readonly prediction: Prediction
  readonly numbered: Numbered
}

const bootAndJudge = async (
  {
    item,
    kernel,
    prediction,
    numbered: { index, number, beginsAgain },
  }: Attempt,
  options: RunOptions,
): Promise<JudgedOutcome> => {
  const { machine, workspace, keepConsole = leave, signal, onStage } = options
  const directory = await workspace.directory(`${index}-${number}`)
  const steps = stepsOn(kernel, item.steps)
  const next = nextKernelOf(steps)
  const record = await machine.boot(
    {
      kernel,
      machine: item.machine,
      platform: item.platform,
      allocations: item.allocations,
      words: item.words,
      steps,
      initramfs: await initramfsFor(kernel, steps, directory),
      next: next && {
        words: next.words,
        initramfs: await initramfsFor(
          kernel,
          next.steps,
          directory,
          'initramfs-of-next',
        ),
      },
      directory,
      stopsAtOutcome:
        options.stopAtOutcome === true && endsWithTdx(item, kernel),
      beginsAgain,
      // Repeated boots are to differ by chance, also before the first SEAMCALL.
      isWhole: number > 1 || (options.attempts ?? ONCE).repeat > 1,
      onStage: stage => onStage?.(item, stage),
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
    console: await keepConsole(
      number === 1 ? item.id : `${item.id} attempt ${number}`,
      record,
    ),
  }
}

/**
 * The kernel initialises TDX by itself, long before init, and the scenario asks
 * for nothing that comes later.
 */
const endsWithTdx = (
  item: Case,
  { trigger, series }: PreparedKernel,
): boolean => {
  const { panic, hangs, warning } = expectationOn(item, series)
  return (
    trigger === 'at boot' &&
    item.steps.every(({ kind }) => kind === 'trigger') &&
    (panic ?? hangs ?? warning) === undefined
  )
}

const leave = (_: string, { witnesses }: BootRecord): Promise<string | null> =>
  Promise.resolve(witnesses.console?.path ?? null)
