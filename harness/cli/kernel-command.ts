import { RigError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { buildKernel, findKernel } from '../kernel/build.ts'
import { fetchDebianSource } from '../kernel/debian-source.ts'
import { KernelImage } from '../kernel/elf.ts'
import { kernelTraits, verifySeries } from '../kernel/kernel-traits.ts'
import {
  type Recipe,
  defaultRecipeNames,
  loadRecipe,
  recipeNames,
} from '../kernel/recipe.ts'
import { isMissingSource } from '../kernel/source.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'

/** `tdxrig kernel list`: the recipes, and whether they are built. */
export const kernelListCommand = async (): Promise<number> => {
  let code = 0
  for (const name of await recipeNames()) {
    try {
      const recipe = await loadRecipe(name)
      process.stdout.write(
        `${name}  ${await stateOf(recipe)}\n  ${recipe.why}\n`,
      )
    } catch (error) {
      // One that is broken must not hide the others.
      if (!(error instanceof RigError)) throw error
      process.stdout.write(`${name}  broken: ${error.message}\n`)
      code = error.exitCode
    }
  }
  return code
}

const stateOf = async (recipe: Recipe): Promise<string> => {
  try {
    const kernel = await findKernel(recipe)
    return kernel ? `built: ${kernel.vmlinux}` : 'not built'
  } catch (error) {
    if (error instanceof RigError) return `not built: ${error.message}`
    throw error
  }
}

/** `tdxrig kernel packages`: the Debian packages that must be installed. */
export const kernelPackagesCommand = async (): Promise<number> => {
  const recipes = await Promise.all(
    (await defaultRecipeNames()).map(loadRecipe),
  )
  const packages = recipes.flatMap(recipe =>
    recipe.kind === 'source' &&
    recipe.source.kind === 'debian' &&
    recipe.source.suite === undefined
      ? [recipe.source.package]
      : [],
  )
  process.stdout.write([...new Set(packages)].map(name => `${name}\n`).join(''))
  return 0
}

/** `tdxrig kernel fetch`: the newest source of recipes that name a suite. */
export const kernelFetchCommand = async (
  names: readonly string[],
): Promise<number> => {
  const { signal } = onInterrupt()
  const recipes = await Promise.all(
    (names.length > 0 ? names : await defaultRecipeNames()).map(loadRecipe),
  )
  for (const recipe of recipes) {
    const { name } = recipe
    if (recipe.kind !== 'source' || recipe.source.kind !== 'debian') continue
    const { suite } = recipe.source
    if (suite === undefined) continue
    const progress = await progressFor()
    try {
      const path = await fetchDebianSource(
        { ...recipe.source, suite },
        {
          signal,
          onProgress: step => {
            progress.building(name, step)
          },
        },
      )
      progress.close()
      process.stdout.write(`${name}: ${path}\n`)
    } catch (error) {
      if (signal.aborted) return INTERRUPTED
      throw error
    } finally {
      progress.close()
    }
  }
  return 0
}

/**
 * `tdxrig kernel build`: builds what is not in the cache yet. Of recipes that
 * nobody named those are left out, with the reason, whose source is not here.
 */
export const kernelBuildCommand = async (
  names: readonly string[],
): Promise<number> => {
  const { signal } = onInterrupt()
  const wanted = names.length > 0 ? names : await defaultRecipeNames()
  let missing: RigError | undefined
  let built = 0
  for (const name of wanted) {
    try {
      await buildOne(await loadRecipe(name), signal)
      built++
    } catch (error) {
      if (signal.aborted) return INTERRUPTED
      if (names.length > 0 || !isMissingSource(error)) throw error
      missing ??= error
      process.stderr.write(`left out: ${visible(error.message)}\n`)
    }
  }
  if (built === 0 && missing) throw missing
  return 0
}

const buildOne = async (recipe: Recipe, signal: AbortSignal): Promise<void> => {
  const { name } = recipe
  const progress = await progressFor()
  try {
    const kernel = await buildKernel(recipe, {
      signal,
      onProgress: step => {
        progress.building(name, step)
      },
    })
    const image = await KernelImage.open(kernel.vmlinux)
    verifySeries(recipe, await kernelTraits(image))
    progress.close()
    process.stdout.write(`${name}: ${kernel.vmlinux}\n`)
  } finally {
    progress.close()
  }
}
