import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { stringify } from 'yaml'
import { UsageError } from '../base/errors.ts'
import {
  checkOutputFolder,
  ensureFolder,
  missingFolders,
  removeIfEmpty,
  writeWhole,
} from '../base/output.ts'
import {
  type CampaignReport,
  type Disagreement,
  runCampaign,
} from '../fuzz/campaign.ts'
import { foundScenario, violatingScenario } from '../fuzz/found.ts'
import { fuzzText, modelText } from '../fuzz/text.ts'
import { randomScenario } from '../fuzz/generate.ts'
import { checkModel } from '../fuzz/model-only.ts'
import { defaultRecipeNames, builtRecipes } from '../kernel/recipe.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import type { AccelChoice } from '../run/accelerator.ts'
import { initialisesTdx } from '../run/kernels.ts'
import { Workspace } from '../run/workspace.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'
import type { Board } from '../board/index.ts'
import { boardHere } from './board-here.ts'
import { askedKernels, openRig, recipesOf } from './rig.ts'

export interface FuzzFlags {
  readonly seed?: number
  readonly count?: number
  /** Seconds. */
  readonly time?: number
  readonly modelOnly?: boolean
  /** The number of a layout that is printed, and not booted. */
  readonly print?: number
  readonly kernel?: readonly string[]
  readonly kernelBuild?: readonly string[]
  readonly jobs?: number
  readonly out?: string
  readonly accel: AccelChoice
}

/** More different ones than this mean that something is badly wrong. */
const ENOUGH = 5
/** A few minutes of boots for each. */
const SHRINK_BUDGET = 160

/** Layouts when neither a number nor a time is asked for. */
const DEFAULT_COUNT = { boots: 200, model: 20_000 }

/** `tdxrig fuzz`: random layouts, model against kernel. @returns exit code */
export const fuzzCommand = async (flags: FuzzFlags): Promise<number> => {
  checkModelOnly(flags)
  if (flags.print !== undefined)
    return printOne(flags.seed, flags.print, await boardHere())
  const { signal } = onInterrupt()
  const seed = flags.seed ?? randomInt(2 ** 31)
  const out = resolve(flags.out ?? join('results', `fuzz-${seed}`))
  // What is found after hours must not be lost then.
  const made = await missingFolders(out)
  await checkOutputFolder('--out', out)
  const begin = performance.now()
  const task = { seed, out, begin, signal, ...boundsOf(flags, begin) }
  try {
    const code = flags.modelOnly
      ? await modelOnly(task)
      : await withBoots(task, flags)
    return signal.aborted ? INTERRUPTED : code
  } finally {
    await removeIfEmpty(made)
  }
}

/** A layout as a scenario, for `run` and `predict`. */
const printOne = (
  seed: number | undefined,
  number: number,
  board: Board,
): number => {
  if (seed === undefined)
    throw new UsageError('NO_SEED', '--print needs --seed: which layouts?')
  process.stdout.write(stringify(randomScenario({ seed, number, board }).input))
  return 0
}

/** Options of boots would be ignored. */
const checkModelOnly = (flags: FuzzFlags): void => {
  const { modelOnly, kernel, kernelBuild, jobs, accel } = flags
  if (modelOnly !== true) return
  const ignored = [
    ...(kernel ? ['--kernel'] : []),
    ...(kernelBuild ? ['--kernel-build'] : []),
    ...(jobs === undefined ? [] : ['--jobs']),
    ...(accel === 'auto' ? [] : ['--accel']),
  ]
  if (ignored.length > 0)
    throw new UsageError(
      'MODEL_ONLY',
      `--model-only boots nothing: it cannot be combined with ${ignored.join(', ')}`,
    )
}

interface Bounds {
  readonly count: number
  /** performance.now() at which it ends. */
  readonly until: number
}

/** What is asked for, whether it boots or not. */
interface Task extends Bounds {
  readonly seed: number
  readonly out: string
  /** performance.now() when it began. */
  readonly begin: number
  readonly signal: AbortSignal
}

const boundsOf = (
  { count, time, modelOnly = false }: FuzzFlags,
  begin: number,
): Bounds => ({
  count:
    count ??
    (time === undefined
      ? DEFAULT_COUNT[modelOnly ? 'model' : 'boots']
      : Infinity),
  until: time === undefined ? Infinity : begin + time * 1000,
})

const modelOnly = async (task: Task): Promise<number> => {
  const { seed, count, until, out, begin, signal } = task
  const board = await boardHere()
  const report = await checkModel({ seed, count, until, board, signal })
  const files = await Promise.all(
    report.found.map(found =>
      keep(out, found.number, { yaml: violatingScenario(seed, found) }),
    ),
  )
  process.stdout.write(
    interruptedText(signal) +
      modelText({ seed, report, files, ms: performance.now() - begin }),
  )
  return report.found.length > 0 ? 1 : 0
}

const withBoots = async (task: Task, flags: FuzzFlags): Promise<number> => {
  const { seed, count, until, out, begin, signal } = task
  const built = builtRecipes(flags.kernelBuild ?? [])
  const asked = await askedKernels(flags.kernel ?? [], built)
  const qemu = await findQemu()
  const progress = await progressFor()
  await using workspace = Workspace.create()
  try {
    const rig = await openRig({
      recipes: await recipesOf(
        asked.length > 0 ? asked : await defaultRecipeNames(),
        built,
      ),
      qemu,
      accel: flags.accel,
      workspace,
      progress,
      signal,
    })
    checkTriggers(rig.kernels)
    const files = new Map<Disagreement, string>()
    const report = await runCampaign({
      seed,
      count,
      until,
      signal,
      workspace,
      board: qemu.board,
      ...rig,
      enough: ENOUGH,
      shrinkBudget: SHRINK_BUDGET,
      jobs: flags.jobs ?? availableParallelism(),
      onBoot: report => {
        progress.counted(progressText(report, count))
      },
      onFound: async found => {
        const yaml = foundScenario(seed, found)
        const { console } = found
        files.set(found, await keep(out, found.number, { yaml, console }))
      },
    })
    progress.close()
    process.stdout.write(
      interruptedText(signal) +
        fuzzText({ seed, report, files, ms: performance.now() - begin }),
    )
    return exitCode(report)
  } catch (error) {
    if (signal.aborted) return INTERRUPTED
    throw error
  } finally {
    progress.close()
  }
}

/** What follows is not what was asked for. */
const interruptedText = ({ aborted }: AbortSignal): string =>
  aborted ? 'interrupted: this is what was done until then\n' : ''

const progressText = (
  { booted, disagreements }: CampaignReport,
  count: number,
): string =>
  `${booted}${Number.isFinite(count) ? ` of ${count}` : ''} layouts booted, ${disagreements.length} disagreements`

/** A kernel that does not initialise TDX never comes to what is to be compared. */
const checkTriggers = (
  kernels: Awaited<ReturnType<typeof openRig>>['kernels'],
): void => {
  for (const kernel of kernels.values())
    if (!initialisesTdx(kernel))
      throw new UsageError(
        'NO_TRIGGER',
        `there is no trigger module for ${kernel.name}: ${kernel.built.noTrigger ?? ''}`,
      )
}

const exitCode = ({ disagreements, errors }: CampaignReport): number => {
  if (disagreements.length > 0) return 1
  return errors.length > 0 ? 3 : 0
}

/** Writes what was found. @returns the path of the scenario, from here */
const keep = async (
  out: string,
  number: number,
  { yaml, console }: { readonly yaml: string; readonly console?: Uint8Array },
): Promise<string> => {
  await ensureFolder(out)
  const path = join(out, `number-${number}.yaml`)
  await writeWhole(path, yaml)
  if (console) await writeWhole(join(out, `number-${number}.log`), console)
  return relative(process.cwd(), path)
}
