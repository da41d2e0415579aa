import { readFile, stat } from 'node:fs/promises'
import { UsageError } from '../base/errors.ts'
import { interposedCode } from '../emulate/kernel-sites.ts'
import { kernelTraits } from '../kernel/kernel-traits.ts'
import { buildKernel } from '../kernel/build.ts'
import { parseOptions } from '../kernel/config.ts'
import { KernelImage } from '../kernel/elf.ts'
import {
  type Recipe,
  builtRecipes,
  loadRecipe,
  recipeNames,
} from '../kernel/recipe.ts'
import {
  findings,
  findingsText,
  isUsable,
} from '../report/kernel-check-text.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { progressFor } from './progress.ts'

/**
 * `tdxrig kernel check`: what the rig can use of a recipe or a build folder.
 *
 * @returns 0 when all can be booted, 1 when one cannot
 */
export const kernelCheckCommand = async (
  targets: readonly string[],
  { json = false }: { readonly json?: boolean },
): Promise<number> => {
  const { signal } = onInterrupt()
  const recipes = await Promise.all(targets.map(recipeFor))
  const checked = []
  for (const recipe of recipes) {
    const progress = await progressFor()
    try {
      const built = await buildKernel(recipe, {
        signal,
        onProgress: step => {
          progress.building(recipe.name, step)
        },
      })
      const image = await KernelImage.open(built.vmlinux)
      const traits = await kernelTraits(image)
      const code = await interposedCode(image)
      const options =
        built.config === undefined
          ? undefined
          : parseOptions(await readFile(built.config, 'utf8'))
      checked.push({
        name: recipe.name,
        vmlinux: built.vmlinux,
        findings: findings({ built, options, traits, code }),
      })
    } catch (error) {
      if (signal.aborted) return INTERRUPTED
      throw error
    } finally {
      progress.close()
    }
  }
  process.stdout.write(
    json
      ? `${JSON.stringify({ schema: 'tdxrig.check/1', kernels: checked }, null, 2)}\n`
      : checked
          .map(item =>
            findingsText(`${item.name}: ${item.vmlinux}`, item.findings),
          )
          .join('\n'),
  )
  return checked.every(item => isUsable(item.findings)) ? 0 : 1
}

/** A recipe goes before a folder of the same name. */
const recipeFor = async (target: string): Promise<Recipe> => {
  const names = await recipeNames()
  if (names.includes(target)) return loadRecipe(target)
  const info = await stat(target).catch(() => undefined)
  if (info) return builtRecipes([target])[0]!
  throw new UsageError(
    'NO_KERNEL',
    `expected a kernel (there are: ${names.join(', ')}) or the path of one that was built, found neither: '${target}'`,
  )
}
