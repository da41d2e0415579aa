import { availableParallelism } from 'node:os'
import { basename, extname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { checkOutputFile, writeWhole } from '../base/output.ts'
import { visible } from '../base/text.ts'
import type { PredictionOptions } from '../judge/prediction.ts'
import { folderRecipes, recipeNames } from '../kernel/recipe.ts'
import type { QemuMachine } from '../machine/qemu/qemu-machine.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { outcomeText } from '../report/prediction-text.ts'
import { scenarioOf } from '../reproduce/bootable.ts'
import { KERNELS } from '../reproduce/replay.ts'
import {
  type BootAll,
  type Target,
  endingByModel,
  isSameTarget,
  minimiseByBoots,
  minimiseOnModel,
  reducible,
} from '../reproduce/minimise.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Lineage } from '../tdx/host.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { type Progress, progressFor } from './progress.ts'
import { askedKernels, openRig, recipesOf } from './rig.ts'
import type { RunFlags } from './run-command.ts'

export interface MinimiseFlags extends Pick<
  RunFlags,
  'kernel' | 'kernelBuild' | 'filter' | 'jobs' | 'accel'
> {
  readonly out?: string
  readonly modelOnly?: boolean
  /** How many boots may be spent where the model does not help. */
  readonly boots: number
}

/** A scenario that got smaller, and how it ends. */
interface Smallest {
  readonly input: CellInput
  readonly target: Target
  /** What was done, for people. */
  readonly how: string
}

/** `tdxrig minimise`: the smallest scenario that ends alike. */
export const minimiseCommand = async (
  path: string,
  flags: MinimiseFlags,
): Promise<number> => {
  const { signal } = onInterrupt()
  const item = await theCase(path, flags)
  const input = reducible(item.input)
  if (!scenarioOf(input))
    throw new UsageError(
      'MINIMISE',
      `${item.id} is a machine no kernel can live on: there is nothing to keep while it gets smaller`,
    )
  const out = flags.out ?? `${basename(path, extname(path))}-minimal.yaml`
  await checkOutputFile('--out', out)
  const smallest = flags.modelOnly
    ? await onModel(item, input, signal)
    : await withBoots(item, input, flags, signal)
  if (signal.aborted) return INTERRUPTED
  await writeWhole(out, fileOf(item, smallest))
  process.stdout.write(summary(item, input, smallest, out))
  return 0
}

/** The one case that is meant. */
const theCase = async (
  path: string,
  { kernel = [], kernelBuild = [], filter }: MinimiseFlags,
): Promise<Case> => {
  const asked = await askedKernels(kernel, folderRecipes(kernelBuild))
  const all = await loadCases([path], {
    kernels: await recipeNames(),
    onlyKernels: asked.length > 0 ? asked : undefined,
  })
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

const onModel = async (
  { kernel }: Case,
  input: CellInput,
  signal: AbortSignal,
): Promise<Smallest> => {
  const lineage = (Object.entries(KERNELS) as [Lineage, string][]).find(
    ([, name]) => name === kernel,
  )?.[0]
  const target = endingByModel(input, { lineage })
  if (!target)
    throw new UsageError(
      'OPEN',
      `the model leaves open how this ends on ${kernel}: leave --model-only away, and it is booted`,
    )
  return {
    input: await minimiseOnModel(input, target, { lineage }, signal),
    target,
    how: 'by the model alone, nothing was booted',
  }
}

const withBoots = async (
  item: Case,
  input: CellInput,
  flags: MinimiseFlags,
  signal: AbortSignal,
): Promise<Smallest> => {
  const built = folderRecipes(flags.kernelBuild ?? [])
  const qemu = await findQemu()
  const progress = await progressFor(0)
  await using workspace = Workspace.create()
  try {
    const { machine, kernels } = await openRig(
      await recipesOf([item.kernel], built),
      ...([qemu, flags.accel, workspace, progress, signal] as const),
    )
    const kernel = kernels.get(item.kernel)!
    const bench = new Bench({ machine, kernel, workspace, progress, signal })
    return await minimise(input, bench, flags)
  } catch (error) {
    if (signal.aborted) return { input, target: NOTHING, how: '' }
    throw error
  } finally {
    progress.close()
  }
}

const NOTHING: Target = { outcome: 'absent', stage: null }

/** The model first; boots prove what it says, and take its place if need be. */
const minimise = async (
  input: CellInput,
  bench: Bench,
  { jobs = availableParallelism(), boots }: MinimiseFlags,
): Promise<Smallest> => {
  const [target] = await bench.bootAll([input])
  if (!target)
    throw new UsageError(
      'NO_OUTCOME',
      'the boot of the scenario says nothing about TDX: run it to see why (tdxrig run)',
    )
  if (isSameTarget(target, endingByModel(input, bench.options))) {
    const small = await minimiseOnModel(
      ...([input, target, bench.options, bench.signal] as const),
    )
    const [ending] = await bench.bootAll([small])
    if (isSameTarget(target, ending))
      return {
        input: small,
        target,
        how: `by the model, proven by ${bench.boots} boots`,
      }
  }
  const small = await minimiseByBoots(input, target, bench.bootAll, {
    ...{ width: jobs, budget: boots },
  })
  return {
    input: small,
    target,
    how: `by ${bench.boots} boots: the model does not say the same as the kernel`,
  }
}

/** Boots scenarios, and tells how TDX ended. */
class Bench {
  boots = 0
  readonly options: PredictionOptions
  readonly signal: AbortSignal
  readonly #tools: BenchTools

  constructor(tools: BenchTools) {
    const { kernel, signal } = tools
    this.#tools = tools
    this.signal = signal
    this.options = {
      lineage: kernel.lineage,
      failsRegions: kernel.failsRegions,
      kernelImage: kernel.kernelRange,
    }
  }

  readonly bootAll: BootAll = async candidates => {
    const { machine, kernel, workspace, progress, signal } = this.#tools
    if (signal.aborted) return []
    const cases = candidates.map((input, i) => caseOf(input, kernel.name, i))
    await using part = await workspace.part(`boots-${this.boots}`)
    this.boots += cases.length
    progress.counted(`boot ${this.boots}`)
    const results = await runCases({
      ...{ cases, machine, signal, workspace: part, jobs: cases.length },
      kernels: new Map([[kernel.name, kernel]]),
      again: { program: 'tdxrig', flags: [] },
      store: {
        keepConsole: (_, record) => Promise.resolve(record.consolePath),
      },
      events: { onStart: () => undefined, onResult: () => undefined },
    })
    return cases.map(({ id }) => {
      const tdx = results.find(result => result.id === id)?.tdx
      return tdx ? { outcome: tdx.outcome, stage: tdx.stage } : undefined
    })
  }
}

interface BenchTools {
  readonly machine: QemuMachine
  readonly kernel: PreparedKernel
  readonly workspace: Workspace
  readonly progress: Progress
  readonly signal: AbortSignal
}

const caseOf = (input: CellInput, kernel: string, number: number): Case => ({
  ...{
    input,
    id: `minimise/${number}@${kernel}`,
    scenario: 'minimise',
    kernel,
  },
  ...scenarioOf(input)!.body,
})

const fileOf = (item: Case, { input, target }: Smallest): string =>
  scenarioFile({
    ...input,
    name: `${item.name}, made as small as it gets`.slice(0, 120),
    why: `the least with which ${item.id} still ends ${outcomeText(target.outcome, target.stage, null)}`,
    kernels: [item.kernel],
    expect: expectationOf(target),
  })

const expectationOf = ({ outcome, stage }: Target): CellInput['expect'] => ({
  tdx: outcome,
  ...(stage !== null && outcome !== 'initialized' && { stage }),
})

const summary = (
  item: Case,
  before: CellInput,
  { input, target, how }: Smallest,
  out: string,
): string =>
  [
    `${visible(item.id)} ends ${outcomeText(target.outcome, target.stage, null)}; it still does with`,
    ...PARTS.flatMap(([what, count]) => {
      const [was, is] = [count(before), count(input)]
      return was === 0 && is === 0 ? [] : [`  ${is} of ${was} ${what}`]
    }),
    `(${how})`,
    `tdxrig run ${out} --kernel ${item.kernel}`,
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
