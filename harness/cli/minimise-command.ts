import { availableParallelism } from 'node:os'
import { basename, extname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { builtRecipes, loadRecipe } from '../kernel/recipe.ts'
import type { Board } from '../board/index.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { shellLine } from '../base/shell.ts'
import { outcomeText } from '../report/prediction-text.ts'
import { bootableScenario } from '../reproduce/bootable.ts'
import { optionsOf } from '../judge/prediction.ts'
import {
  type Target,
  endingByModel,
  minimiseOnModel,
  reducible,
} from '../reproduce/minimise.ts'
import { Bench, type Smallest, minimise } from '../reproduce/minimise-boots.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import { type CellInput, MAX_NAME } from '../scenario/schema.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'
import { programName } from './program-name.ts'
import { boardHere } from './board-here.ts'
import { chooseKernels, openRig, recipesOf } from './rig.ts'
import type { RunFlags } from './run-flags.ts'
import { checkScenario, writeScenario } from './scenario-out.ts'

export interface MinimiseFlags extends Pick<
  RunFlags,
  'kernel' | 'kernelBuild' | 'filter' | 'jobs' | 'accel'
> {
  readonly out?: string
  readonly modelOnly?: boolean
  /** How many boots may be spent where the model does not help. */
  readonly boots: number
}

/** `tdxrig minimise`: the smallest scenario that ends alike. */
export const minimiseCommand = async (
  path: string,
  flags: MinimiseFlags,
): Promise<number> => {
  const { signal } = onInterrupt()
  const board = await boardHere()
  const item = await theCase(path, flags, board)
  const input = reducible(item.input)
  if (!bootableScenario(input, board))
    throw new UsageError(
      'MINIMISE',
      `${item.id} is a machine that no kernel boots on, so there is no outcome to preserve`,
    )
  const out = flags.out ?? `${basename(path, extname(path))}-minimal.yaml`
  await checkScenario(out, undefined, flags.out !== undefined)
  const smallest = flags.modelOnly
    ? await onModel({ item, input, signal })
    : await withBoots({ item, input, signal }, flags)
  if (signal.aborted) return INTERRUPTED
  // A kernel of somebody's own is named by its folder, and by nothing else.
  const folder = flags.kernelBuild?.[0]
  await writeScenario(out, fileOf(item, smallest, folder), true)
  const again = shellLine([
    programName(),
    'run',
    out,
    ...(folder === undefined
      ? ['--kernel', item.kernel]
      : ['--kernel-build', folder]),
  ])
  process.stdout.write(summary({ item, before: input, smallest, again }))
  return 0
}

/** The one case that is meant. */
const theCase = async (
  path: string,
  { kernel = [], kernelBuild = [], filter }: MinimiseFlags,
  board: Board,
): Promise<Case> => {
  const choice = await chooseKernels(kernel, builtRecipes(kernelBuild))
  const all = await loadCases([path], { ...choice, board })
  const cases = filter
    ? all.filter(({ id }) => filter.some(text => id.includes(text)))
    : all
  const cells = new Set(cases.map(({ id }) => id.replace(/@[^@]*$/, '')))
  const [first] = cases
  if (!first || cells.size > 1)
    throw new UsageError(
      'CELLS',
      `expected one cell to make smaller, found ${cells.size} of ${all.length} cases: name it with --filter${[
        ...cells,
      ]
        .slice(0, 8)
        .map(id => `\n  ${id}`)
        .join('')}`,
    )
  return first
}

/** A cell that is to be made smaller. */
interface Task {
  readonly item: Case
  readonly input: CellInput
  readonly signal: AbortSignal
}

const onModel = async ({
  item: { kernel, machine },
  input,
  signal,
}: Task): Promise<Smallest> => {
  const { series } = await loadRecipe(kernel)
  if (!series)
    throw new UsageError(
      'MODEL_ONLY',
      `the recipe of ${kernel} states no series: run without --model-only, which looks at the image`,
    )
  const subject = { board: machine.board, kernel: optionsOf(series) }
  const target = endingByModel(input, subject)
  if (!target)
    throw new UsageError(
      'OPEN',
      `the model leaves open how this ends on ${kernel}: omit --model-only to boot it`,
    )
  return {
    input: await minimiseOnModel({ input, target, subject, signal }),
    target,
    how: 'by the model alone, nothing was booted',
  }
}

const withBoots = async (
  { item, input, signal }: Task,
  flags: MinimiseFlags,
): Promise<Smallest> => {
  const built = builtRecipes(flags.kernelBuild ?? [])
  const qemu = await findQemu()
  const progress = await progressFor()
  await using workspace = Workspace.create()
  try {
    const { machine, kernels } = await openRig({
      recipes: await recipesOf([item.kernel], built),
      qemu,
      accel: flags.accel,
      workspace,
      progress,
      signal,
    })
    const kernel = kernels.get(item.kernel)!
    const bench = new Bench({
      machine,
      board: qemu.board,
      kernel,
      workspace,
      signal,
      onBoots: count => {
        progress.counted(`boot ${count}`)
      },
    })
    return await minimise(input, bench, {
      width: flags.jobs ?? availableParallelism(),
      budget: flags.boots,
    })
  } catch (error) {
    if (signal.aborted) return { input, target: NOTHING, how: '' }
    throw error
  } finally {
    progress.close()
  }
}

const NOTHING: Target = { outcome: 'absent', stage: null }

const fileOf = (
  item: Case,
  { input, target }: Smallest,
  folder: string | undefined,
): string =>
  scenarioFile({
    ...input,
    name: `${item.name}, made as small as it gets`.slice(0, MAX_NAME),
    why: `the least with which ${item.id} still ends ${outcomeText(target.outcome, target.stage, null)}`,
    kernels: folder === undefined ? [item.kernel] : undefined,
    expect: expectationOf(target),
  })

const expectationOf = ({
  outcome,
  stage,
  errno,
}: Smallest['target']): CellInput['expect'] => ({
  tdx: outcome,
  ...(stage !== null && outcome !== 'initialized' && { stage }),
  ...(typeof errno === 'number' && { errno }),
})

interface Summary {
  readonly item: Case
  readonly before: CellInput
  readonly smallest: Smallest
  /** The shell line that runs what is left. */
  readonly again: string
}

const summary = ({
  item,
  before,
  smallest: { input, target, how },
  again,
}: Summary): string =>
  [
    `${visible(item.id)} ends ${outcomeText(target.outcome, target.stage, null)}; it still does with`,
    ...PARTS.flatMap(([what, count]) => {
      const [was, is] = [count(before), count(input)]
      return was === 0 && is === 0 ? [] : [`  ${is} of ${was} ${what}`]
    }),
    `(${how})`,
    again,
    '',
  ].join('\n')

/** What a scenario consists of, for people. */
const PARTS: readonly (readonly [
  what: string,
  count: (input: CellInput) => number,
])[] = [
  [
    'entries of the memory map',
    ({ machine }) => machine.firmware?.e820?.length ?? 0,
  ],
  ['entries of the SRAT', ({ machine }) => machine.firmware?.srat?.length ?? 0],
  ['nodes', ({ machine }) => machine.nodes?.length ?? 0],
  [
    'memmap= elements',
    ({ cmdline }) =>
      cmdline?.memmap?.flatMap(value => value.split(',')).length ?? 0,
  ],
  [
    'other words of the command line',
    ({ cmdline }) => cmdline?.append?.length ?? 0,
  ],
  ['CMRs', ({ tdx }) => (Array.isArray(tdx?.cmrs) ? tdx.cmrs.length : 0)],
]
