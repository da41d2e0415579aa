import { RigError } from '../base/errors.ts'
import { buildKernel, findKernel } from '../kernel/build.ts'
import { KernelImage } from '../kernel/elf.ts'
import { kernelTraits, verifySeries } from '../kernel/kernel-traits.ts'
import { type Recipe, loadRecipe, recipeNames } from '../kernel/recipe.ts'
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

/** `tdxrig kernel packages`: the Debian packages the recipes start from. */
export const kernelPackagesCommand = async (): Promise<number> => {
  const recipes = await Promise.all((await recipeNames()).map(loadRecipe))
  const packages = recipes.flatMap(recipe =>
    recipe.kind === 'source' && recipe.source.kind === 'debian'
      ? [recipe.source.package]
      : [],
  )
  process.stdout.write([...new Set(packages)].map(name => `${name}\n`).join(''))
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
      const image = await KernelImage.open(kernel.vmlinux)
      verifySeries(recipe, await kernelTraits(image))
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
