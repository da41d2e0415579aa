import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { DEFAULT_KERNEL } from '../kernel/default-kernel.ts'
import {
  type BuiltRecipe,
  type Recipe,
  defaultRecipeNames,
  loadRecipe,
  recipeNames,
} from '../kernel/recipe.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { GuestTsc } from '../machine/qemu/guest-tsc.ts'
import { SnapshotStore } from '../machine/qemu/snapshot-store.ts'
import { QemuMachine } from '../machine/qemu/qemu-machine.ts'
import { type AccelChoice, chooseAccelerator } from '../run/accelerator.ts'
import {
  type PreparedKernel,
  type PrepareOptions,
  initialisesTdx,
  prepareKernels,
} from '../run/kernels.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Progress } from './progress.ts'

/** What boots need, and commands that boot have in common. */
export interface Rig {
  readonly machine: QemuMachine
  readonly kernels: ReadonlyMap<string, PreparedKernel>
}

export interface RigOptions {
  readonly recipes: readonly Recipe[]
  readonly qemu: Qemu
  readonly accel: AccelChoice
  readonly workspace: Workspace
  readonly progress: Pick<Progress, 'building' | 'step' | 'around'>
  readonly signal: AbortSignal
  readonly onMissing?: PrepareOptions['onMissing']
  readonly needed?: PrepareOptions['needed']
  /** Boots go on from snapshots of others; default: none does. */
  readonly snapshots?: boolean
  /** Code is put into guests that stops them less; default: none is. */
  readonly entersGuest?: boolean
}

/** Builds the kernels, and finds out how guests are run. */
export const openRig = async ({
  recipes,
  qemu,
  accel,
  workspace,
  progress,
  signal,
  onMissing,
  needed,
  snapshots = false,
  entersGuest = false,
}: RigOptions): Promise<Rig> => {
  const kernels = await prepareKernels(recipes, {
    workspace,
    onBuild: progress.building,
    signal,
    ...(onMissing && { onMissing }),
    ...(needed && { needed }),
  })
  const prover = [...kernels.values()].find(initialisesTdx)
  const choice = await chooseAccelerator(accel, {
    qemu,
    board: qemu.board,
    kernel: prover,
    workspace,
    onStep: progress.step,
    signal,
  })
  return {
    machine: new QemuMachine({
      binary: qemu.binary,
      ...choice,
      tsc: new GuestTsc(qemu),
      firmware: qemu.description,
      snapshots: snapshots ? snapshotStore(progress) : undefined,
      entersGuest,
    }),
    kernels,
  }
}

const snapshotStore = ({ around }: Pick<Progress, 'around'>): SnapshotStore =>
  new SnapshotStore(undefined, {
    onTrouble: why => {
      around(() =>
        process.stderr.write(
          `tdxrig: snapshots of guests cannot be used as they should: ${visible(why)}; boots take longer and show the same (--no-shortcuts does without)\n`,
        ),
      )
    },
  })

/** Names of kernels that were asked for, each known and named once. */
export const askedKernels = async (
  kernel: readonly string[],
  built: readonly BuiltRecipe[],
): Promise<string[]> => {
  const kernels = await recipeNames()
  const unknown = kernel.find(name => !kernels.includes(name))
  if (unknown !== undefined)
    throw new UsageError(
      'NO_KERNEL',
      `there is no kernel '${unknown}' (there are: ${kernels.join(', ')})`,
    )
  const asked = [...kernel, ...built.map(({ name }) => name)]
  const twice = asked.find((name, i) => asked.indexOf(name) !== i)
  if (twice !== undefined)
    throw new UsageError(
      'NO_KERNEL',
      `the kernel '${twice}' is asked for twice`,
    )
  return asked
}

/** `--kernel all`: every recipe that is not on request. */
const ALL = 'all'

/** Which kernels the cases of a scenario are for. */
export interface KernelChoice {
  /** Every recipe. */
  readonly kernels: readonly string[]
  /** Of a scenario that names none. */
  readonly byDefault: readonly string[]
  /** Whatever the scenario says; undefined: it decides. */
  readonly onlyKernels: readonly string[] | undefined
}

/** What `--kernel` and `--kernel-build` choose. */
export const chooseKernels = async (
  kernel: readonly string[],
  built: readonly BuiltRecipe[],
): Promise<KernelChoice> => {
  const kernels = await recipeNames()
  if (wantsAll(kernel)) {
    if (kernel.length + built.length > 1)
      throw new UsageError(
        'NO_KERNEL',
        `--kernel ${ALL} is every kernel that ships: expected no other kernel beside it`,
      )
    const byDefault = await defaultRecipeNames()
    return { kernels, byDefault, onlyKernels: undefined }
  }
  const asked = await askedKernels(kernel, built)
  return {
    kernels,
    byDefault: [DEFAULT_KERNEL],
    onlyKernels: asked.length > 0 ? asked : undefined,
  }
}

const wantsAll = (kernel: readonly string[]): boolean => kernel.includes(ALL)

/** Kernels that must be there; of others the cases are skipped. */
export const neededKernels = (
  kernel: readonly string[],
  built: readonly BuiltRecipe[],
): ReadonlySet<string> =>
  new Set(
    wantsAll(kernel)
      ? []
      : [DEFAULT_KERNEL, ...kernel, ...built.map(({ name }) => name)],
  )

/** The recipes of kernels, each once. */
export const recipesOf = (
  names: readonly string[],
  built: readonly BuiltRecipe[],
): Promise<Recipe[]> =>
  Promise.all(
    [...new Set(names)].map(
      async name =>
        built.find(recipe => recipe.name === name) ?? loadRecipe(name),
    ),
  )
