import { RigError } from '../../base/errors.ts'
import { findKernel } from '../../kernel/build.ts'
import {
  type Recipe,
  defaultRecipeNames,
  loadRecipe,
} from '../../kernel/recipe.ts'
import { isMissingSource } from '../../kernel/source.ts'
import { type Finding, missing, ok, warning } from './finding.ts'

/** A shipped kernel: whether it is in the cache, or its source is here. */
interface KernelState {
  readonly finding: Finding
  readonly isBuilt: boolean
  /** Its source is here, or can be fetched. */
  readonly hasSource: boolean
}

/**
 * The shipped kernels. Nothing is built or fetched.
 *
 * @param canBuild whether the programs for it are there
 */
export const kernelFindings = async (canBuild: boolean): Promise<Finding[]> => {
  const states: KernelState[] = []
  // One after the other: a source that is new is hashed once for all.
  for (const name of await defaultRecipeNames())
    states.push(await stateOf(name, canBuild))
  const findings = states.map(({ finding }) => finding)
  const isUsable = states.some(
    ({ isBuilt, hasSource }) => isBuilt || (hasSource && canBuild),
  )
  return isUsable
    ? findings
    : [
        ...findings,
        missing(
          'kernels',
          'none is built, and none can be built here',
          'run ./scripts/setup, or boot a kernel of your own with --kernel-build',
          true,
        ),
      ]
}

const stateOf = async (
  name: string,
  canBuild: boolean,
): Promise<KernelState> => {
  const part = `kernel ${name}`
  let recipe: Recipe | undefined
  try {
    recipe = await loadRecipe(name)
    if (await findKernel(recipe))
      return { finding: ok(part, 'built'), isBuilt: true, hasSource: true }
    return {
      finding: warning(
        part,
        'not built, its source is here',
        canBuild
          ? `the first run builds it, or: tdxrig kernel build ${name}`
          : 'it cannot be built without the programs below',
      ),
      isBuilt: false,
      hasSource: true,
    }
  } catch (error) {
    if (!(error instanceof RigError)) throw error
    // What is fetched of a suite needs the network, which is not tried.
    const isFetched =
      isMissingSource(error) &&
      recipe?.kind === 'source' &&
      recipe.source.kind === 'debian' &&
      recipe.source.suite !== undefined
    const finding = isFetched
      ? warning(
          part,
          'not built, its source is not here',
          `the first run fetches and builds it, or: tdxrig kernel build ${name}`,
        )
      : missing(part, 'cannot be built', error.message, false)
    return { finding, isBuilt: false, hasSource: isFetched }
  }
}
