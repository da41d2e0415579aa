import { availableParallelism } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { RigError, UsageError, messageOf } from '../base/errors.ts'
import { checkOutputFolder } from '../base/output.ts'
import { visible } from '../base/text.ts'
import {
  type Commit,
  bisectCommits,
  commitAt,
} from '../history/bisect-commits.ts'
import {
  type BisectJournal,
  type BisectRequest,
  type BisectStep,
  resumeJournal,
  startJournal,
} from '../history/bisect-journal.ts'
import { bisectSeries } from '../history/bisect-series.ts'
import { type Patch, readPatches } from '../kernel/mailed-patches.ts'
import { type SourceRecipe, loadRecipe, recipeNames } from '../kernel/recipe.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { compareRuns } from '../report/compare.ts'
import { compareText } from '../report/compare-text.ts'
import { shellLine } from '../base/shell.ts'
import type { AccelChoice } from '../run/accelerator.ts'
import { readCompared } from '../run/result-file.ts'
import { Workspace } from '../run/workspace.ts'
import { loadCases } from '../scenario/load.ts'
import { BisectBench, type Subject } from './bisect-boots.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { programName } from './program-name.ts'
import { progressFor } from './progress.ts'

export interface BisectFlags {
  readonly good?: string
  readonly bad?: string
  readonly tree?: string
  /** A file with patches; true: those of the recipe. */
  readonly patches?: string | true
  readonly kernel: string
  readonly filter?: readonly string[]
  readonly confidence: number
  readonly jobs?: number
  readonly out?: string
  readonly resume?: string
  readonly accel: AccelChoice
}

/** `tdxrig bisect`: the commit, or the patch, that makes a scenario fail. */
export const bisectCommand = async (
  scenario: string | undefined,
  flags: BisectFlags,
): Promise<number> => {
  const { signal } = onInterrupt()
  const folder = resolve(
    flags.resume ??
      flags.out ??
      join(
        'results',
        `bisect-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`,
      ),
  )
  const journal =
    flags.resume === undefined
      ? await begin(folder, await requestOf(scenario, flags))
      : await resumed(scenario, flags.resume, folder)
  try {
    return await bisect(journal, { folder, flags, signal })
  } catch (error) {
    if (!signal.aborted) throw error
    process.stderr.write(
      `to resume: ${shellLine([programName(), 'bisect', '--resume', relative(process.cwd(), folder) || '.'])}\n`,
    )
    return INTERRUPTED
  }
}

const begin = async (
  folder: string,
  request: BisectRequest,
): Promise<BisectJournal> => {
  await checkOutputFolder('--out', folder)
  return startJournal(folder, request)
}

const resumed = async (
  scenario: string | undefined,
  name: string,
  folder: string,
): Promise<BisectJournal> => {
  if (scenario !== undefined)
    throw new UsageError(
      'RESUME',
      `--resume goes on with what was asked for: it takes no scenario, found '${scenario}' beside ${name}`,
    )
  return resumeJournal(folder)
}

const requestOf = async (
  scenario: string | undefined,
  flags: BisectFlags,
): Promise<BisectRequest> => {
  if (scenario === undefined)
    throw new UsageError('BISECT', 'expected the scenario that fails')
  return {
    schema: 'tdxrig.bisect/1',
    scenario,
    filter: [...(flags.filter ?? [])],
    kernel: flags.kernel,
    accel: flags.accel,
    confidence: flags.confidence,
    over: await rangeOf(flags),
  }
}

const rangeOf = async ({
  good,
  bad,
  tree,
  patches,
}: BisectFlags): Promise<BisectRequest['over']> => {
  if (patches !== undefined) {
    if ((good ?? bad ?? tree) !== undefined)
      throw new UsageError(
        'BISECT',
        '--patches goes from none of them to all: it takes no --good, --bad and --tree',
      )
    if (patches !== true) await patchesIn(patches)
    return {
      kind: 'patches',
      series: patches === true ? null : resolve(patches),
    }
  }
  if (good === undefined || bad === undefined || tree === undefined)
    throw new UsageError(
      'BISECT',
      'expected --tree with --good and --bad, or --patches',
    )
  const at = resolve(tree)
  return {
    kind: 'commits',
    tree: at,
    good: (await commitAt(at, good)).hash,
    bad: (await commitAt(at, bad)).hash,
  }
}

const patchesIn = (path: string): Promise<Patch[]> =>
  readPatches(path).catch((error: unknown) => {
    if (error instanceof RigError) throw error
    throw new UsageError(
      'PATCH_SERIES',
      `cannot read the patches in ${path}: ${messageOf(error)}`,
      { cause: error },
    )
  })

interface Surroundings {
  readonly folder: string
  readonly flags: BisectFlags
  readonly signal: AbortSignal
}

const bisect = async (
  journal: BisectJournal,
  { folder, flags, signal }: Surroundings,
): Promise<number> => {
  const { request } = journal
  const recipe = await sourceRecipe(request.kernel)
  const qemu = await findQemu()
  const all = await loadCases([request.scenario], {
    kernels: await recipeNames(),
    onlyKernels: [request.kernel],
    board: qemu.board,
  })
  const { filter } = request
  const cases = all.filter(
    ({ id }) => filter.length === 0 || filter.some(text => id.includes(text)),
  )
  if (cases.length === 0)
    throw new UsageError(
      'NO_CASES',
      `none of the ${all.length} cases of ${request.scenario} has ${filter.join(' or ')} in its id`,
    )
  await using workspace = Workspace.create()
  const progress = await progressFor()
  const print = (text: string): void => {
    progress.around(() => {
      process.stdout.write(text)
    })
  }
  try {
    const bench = new BisectBench({
      cases,
      journal,
      folder,
      qemu,
      workspace,
      progress,
      signal,
      jobs: flags.jobs ?? availableParallelism(),
      onStep: step => {
        print(stepText(step))
      },
    })
    const found =
      request.over.kind === 'commits'
        ? await overCommits(bench, recipe, { ...request.over, folder })
        : await overPatches(bench, recipe, request.over.series)
    print(await closing(found, bench, request.confidence))
    return 0
  } finally {
    progress.close()
  }
}

const sourceRecipe = async (name: string): Promise<SourceRecipe> => {
  const recipe = await loadRecipe(name)
  if (recipe.kind === 'source') return recipe
  throw new UsageError(
    'BISECT',
    `the kernel '${name}' is built already: expected a recipe with a source and a configuration`,
  )
}

/** What a bisect has found. */
interface Found {
  /** One, or several between which nothing could be judged. */
  readonly first: readonly Subject[]
  /** The last good one before them. */
  readonly before: Subject
}

const overCommits = async (
  bench: BisectBench,
  recipe: SourceRecipe,
  range: Extract<BisectRequest['over'], { kind: 'commits' }> & {
    readonly folder: string
  },
): Promise<Found> => {
  const { tree, folder } = range
  const subjectOf = ({ hash, subject }: Commit): Subject => ({
    name: hash.slice(0, 16),
    title: `${hash.slice(0, 12)} ${subject}`,
    recipe: {
      ...recipe,
      // A tree may come from a kernel of one series to one of the next.
      series: undefined,
      source: { kind: 'git', repository: tree, ref: hash },
      patches: [],
    },
  })
  await bench.bad(subjectOf(await commitAt(tree, range.bad)))
  const good = subjectOf(await commitAt(tree, range.good))
  await bench.good(good)
  const first = await bisectCommits(
    range,
    join(folder, 'repository'),
    async commit => (await bench.judge(subjectOf(commit))).finding,
  )
  // Its parent, unless a merge came from elsewhere.
  const parent = await commitAt(tree, `${first[0]!.hash}^`)
  return { first: first.map(subjectOf), before: subjectOf(parent) }
}

const overPatches = async (
  bench: BisectBench,
  recipe: SourceRecipe,
  series: string | null,
): Promise<Found> => {
  const patches = series === null ? recipe.patches : await patchesIn(series)
  if (patches.length === 0)
    throw new UsageError(
      'BISECT',
      `the kernel '${recipe.name}' has no patches: expected --patches FILE`,
    )
  const below = series === null ? [] : recipe.patches
  const subjectOf = (count: number): Subject => ({
    name: `patches-${count}`,
    title:
      count === 0
        ? 'no patch'
        : `patch ${count} of ${patches.length}, ${patches[count - 1]!.name}`,
    recipe: {
      ...recipe,
      series: undefined,
      patches: [...below, ...patches.slice(0, count)],
    },
  })
  await bench.bad(subjectOf(patches.length))
  await bench.good(subjectOf(0))
  const { candidates } = await bisectSeries(
    patches.length,
    async place => (await bench.judge(subjectOf(place + 1))).finding,
  )
  return {
    first: candidates.map(place => subjectOf(place + 1)),
    before: subjectOf(candidates[0]!),
  }
}

const stepText = ({ title, finding, boots, failed, why }: BisectStep): string =>
  `${finding.padEnd(5)} ${visible(title)}${boots > 0 ? `, ${failed} of ${boots} boots failed` : ''}${finding === 'skip' ? `: ${visible(firstLine(why))}` : ''}\n`

const firstLine = (text: string): string => text.split('\n')[0]!

const closing = async (
  { first, before }: Found,
  bench: BisectBench,
  confidence: number,
): Promise<string> => {
  const last = first.at(-1)!
  const path = (name: string): string =>
    relative(process.cwd(), bench.documentOf(name))
  if (first.length > 1)
    return [
      '',
      `the first bad one is one of these ${first.length}; those between could not be judged:`,
      ...first.map(({ title }) => `  ${visible(title)}`),
      '',
    ].join('\n')
  const [good, bad] = [path(before.name), path(last.name)]
  // A merge may have a parent that nobody booted.
  const old = await readCompared(good).catch(() => undefined)
  return [
    '',
    `first bad: ${visible(last.title)}`,
    `(a kernel counts as good after ${bench.needed} boots that pass: the fault would have shown itself with ${(100 * confidence).toFixed(1)}%)`,
    `result of the first bad: ${bad}`,
    ...(old
      ? [
          `result of the one before: ${good}`,
          '',
          compareText(compareRuns(old, await readCompared(bad))),
        ]
      : ['']),
  ].join('\n')
}
