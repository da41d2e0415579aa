import { RigError } from '../base/errors.ts'
import { buildKernel } from '../kernel/build.ts'
import { cachedKernel, kernelDirectory, kernelKey } from '../kernel/cache.ts'
import { loadRecipe, recipeNames } from '../kernel/recipe.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'

/** `tdxrig kernel list`: the recipes, and whether they are built. */
export const kernelListCommand = async (): Promise<number> => {
  for (const name of await recipeNames()) {
    const recipe = await loadRecipe(name)
    process.stdout.write(`${name}  ${await state(name)}\n  ${recipe.why}\n`)
  }
  return 0
}

const state = async (name: string): Promise<string> => {
  const recipe = await loadRecipe(name)
  try {
    const key = await kernelKey(recipe)
    return (await cachedKernel(name, key))
      ? `built: ${kernelDirectory(name, key)}`
      : 'not built'
  } catch (error) {
    if (error instanceof RigError) return `not built: ${error.message}`
    throw error
  }
}

/** `tdxrig kernel packages`: the Debian packages the recipes start from. */
export const kernelPackagesCommand = async (): Promise<number> => {
  const recipes = await Promise.all((await recipeNames()).map(loadRecipe))
  const packages = new Set(recipes.map(({ debianPackage }) => debianPackage))
  process.stdout.write([...packages].map(name => `${name}\n`).join(''))
  return 0
}

/** `tdxrig kernel build`: builds what is not in the cache yet. */
export const kernelBuildCommand = async (
  names: readonly string[],
): Promise<number> => {
  const { signal } = onInterrupt()
  for (const name of names.length > 0 ? names : await recipeNames()) {
    const recipe = await loadRecipe(name)
    const progress = await progressFor(0)
    try {
      const kernel = await buildKernel(recipe, {
        signal,
        onProgress: step => {
          progress.building(name, step)
        },
      })
      progress.close()
      process.stdout.write(`${name}: ${kernel.vmlinux}\n`)
    } catch (error) {
      if (signal.aborted) return INTERRUPTED
      throw error
    } finally {
      progress.close()
    }
  }
  return 0
}
