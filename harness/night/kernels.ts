import { execa } from 'execa'
import { RigError, UsageError, messageOf } from '../base/errors.ts'
import { endsWithUs } from '../base/ends-with-us.ts'
import { visible } from '../base/text.ts'
import { type Complaint, complaintsError } from '../base/yaml-file.ts'
import { fetchDebianKernel } from '../kernel/debian-source.ts'
import { type Patch, readPatches } from '../kernel/mailed-patches.ts'
import { findKernelAt } from '../kernel/places.ts'
import {
  type SourceRecipe,
  builtRecipes,
  loadRecipe,
  recipeNames,
} from '../kernel/recipe.ts'
import { commitOf } from '../kernel/source.ts'
import type { NightFile, WrittenKernel } from './plan-file.ts'
import type { Origin, PlannedKernel } from './plan.ts'

export interface ResolveOptions {
  readonly signal: AbortSignal
  readonly onStep: (text: string) => void
}

/**
 * The kernels a night's runs name, each pinned: a branch becomes the commit it
 * is at now, `latest` the version that there is.
 *
 * @throws UsageError with every kernel that cannot be found
 */
export const resolveKernels = async (
  { kernels, runs, yaml }: Pick<NightFile, 'kernels' | 'runs' | 'yaml'>,
  options: ResolveOptions,
): Promise<PlannedKernel[]> => {
  const recipes = await recipeNames()
  const names = [...new Set(runs.flatMap(run => run.kernels))]
  const planned: PlannedKernel[] = []
  const complaints: Complaint[] = []
  for (const name of names) {
    const written = kernels[name]
    if (!written || recipes.includes(name)) {
      const recipe = await loadRecipe(name)
      planned.push({ name, recipe, like: name, origin: null })
      continue
    }
    try {
      planned.push(await resolved(name, written, options))
    } catch (error) {
      // A mirror that is away is no mistake of the file.
      if (!(error instanceof UsageError)) throw error
      complaints.push(yaml.complain(['kernels', name], error.message))
    }
  }
  if (complaints.length > 0) throw complaintsError(complaints)
  return planned
}

/** @throws UsageError for a file that cannot be read */
const patchesOf = async (path: string): Promise<Patch[]> => {
  try {
    return await readPatches(path)
  } catch (error) {
    if (error instanceof RigError && !(error instanceof UsageError)) throw error
    throw new UsageError('PATCH_SERIES', `${path}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

const resolved = async (
  name: string,
  kernel: WrittenKernel,
  options: ResolveOptions,
): Promise<PlannedKernel> => {
  switch (kernel.kind) {
    case 'git':
      return gitKernel(name, kernel, options)
    case 'mbox': {
      const base = await sourceRecipe(kernel.like)
      const patches = await patchesOf(kernel.mbox)
      return {
        name,
        like: kernel.like,
        origin: {
          text: `${patches.length} patches of ${kernel.mbox} on ${kernel.like}`,
          commit: null,
        },
        recipe: {
          ...base,
          name,
          why: `the patches in ${kernel.mbox}`,
          patches: [...base.patches, ...patches],
          series: undefined,
        },
      }
    }
    case 'package':
      await findKernelAt(kernel.package)
      return packaged(name, kernel.package, null)
    case 'debian':
      return debianKernel(name, kernel, options)
  }
}

const gitKernel = async (
  name: string,
  { git, ref, fetch, like }: Extract<WrittenKernel, { kind: 'git' }>,
  { signal, onStep }: ResolveOptions,
): Promise<PlannedKernel> => {
  const base = await sourceRecipe(like)
  if (fetch !== undefined) {
    onStep(`kernel ${name}: git fetch ${fetch}`)
    await fetched(git, fetch, signal)
  }
  const hash = await commitOf(name, { repository: git, ref })
  return {
    name,
    like,
    origin: {
      text: `commit ${hash.slice(0, 12)} (${ref} of ${git})`,
      commit: { tree: git, hash },
    },
    recipe: {
      ...base,
      name,
      why: `${ref} of ${git}`,
      source: { kind: 'git', repository: git, ref: hash },
      patches: [],
      // A branch may come from one series to the next.
      series: undefined,
    },
  }
}

const fetched = async (
  repository: string,
  remote: string,
  signal: AbortSignal,
): Promise<void> => {
  const { exitCode, stderr } = await execa(
    'setpriv',
    endsWithUs(['git', '-C', repository, 'fetch', '--quiet', '--', remote]),
    {
      reject: false,
      stdin: 'ignore',
      cancelSignal: signal,
      env: { GIT_TERMINAL_PROMPT: '0' },
    },
  )
  signal.throwIfAborted()
  if (exitCode !== 0)
    throw new UsageError(
      'GIT_FETCH',
      `expected 'git fetch ${remote}' to succeed in ${repository}, it says: ${visible(
        stderr
          .trim()
          .slice(-500)
          .replaceAll(/\s*\n\s*/g, '; '),
      )}`,
    )
}

const debianKernel = async (
  name: string,
  { debian, suite, like }: Extract<WrittenKernel, { kind: 'debian' }>,
  { signal, onStep }: ResolveOptions,
): Promise<PlannedKernel> => {
  if (like !== undefined && debian.startsWith('linux-source-')) {
    const base = await sourceRecipe(like)
    return {
      name,
      like,
      origin: { text: `${debian} of ${suite}`, commit: null },
      recipe: {
        ...base,
        name,
        why: `${debian} of ${suite}`,
        source: { kind: 'debian', package: debian, suite },
        series: undefined,
      },
    }
  }
  const found = await fetchDebianKernel(
    { package: debian, suite },
    {
      signal,
      onProgress: ({ phase }) => {
        onStep(`kernel ${name}: ${phase}`)
      },
    },
  )
  return packaged(name, found.path, {
    text: `${found.name} ${found.version} of ${suite}`,
    commit: null,
  })
}

const packaged = (
  name: string,
  path: string,
  origin: Origin | null,
): PlannedKernel => {
  const [recipe] = builtRecipes([path])
  if (!recipe) throw new TypeError('a path is a recipe')
  return {
    name,
    like: name,
    origin: origin ?? { text: path, commit: null },
    recipe: { ...recipe, name },
  }
}

const sourceRecipe = async (name: string): Promise<SourceRecipe> => {
  const recipe = await loadRecipe(name)
  if (recipe.kind === 'source') return recipe
  throw new UsageError(
    'NIGHT_KERNEL',
    `the kernel '${name}' is built already: expected 'like' to name a recipe with a configuration`,
  )
}
