import { InfraError } from '../base/errors.ts'
import { type PreparedKernel, prepareBuilt } from '../run/kernels.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Begun } from './attempts.ts'
import { localKernel } from './kernel-copies.ts'
import { parseRecipe } from './recipe-json.ts'
import type { NightDatabase } from './tables.ts'

export interface ShelfOptions {
  readonly db: NightDatabase
  readonly workspace: Workspace
  readonly signal: AbortSignal
}

/** Kernels that this worker has looked up, each fetched and prepared once. */
export class KernelShelf {
  readonly #options: ShelfOptions
  readonly #kernels = new Map<string, Promise<PreparedKernel>>()

  constructor(options: ShelfOptions) {
    this.#options = options
  }

  /** @throws InfraError when it can be had neither here nor from the database */
  async prepared({
    kernel,
    key,
    recipe,
  }: Pick<Begun, 'kernel' | 'key' | 'recipe'>): Promise<PreparedKernel> {
    if (key === null)
      throw new InfraError(
        'KERNEL_COPY',
        `expected the kernel '${kernel}' to be built, it was not`,
      )
    const known = this.#kernels.get(key) ?? this.#prepare(key, recipe)
    this.#kernels.set(key, known)
    try {
      return await known
    } catch (error) {
      this.#kernels.delete(key)
      throw error
    }
  }

  async #prepare(key: string, text: string): Promise<PreparedKernel> {
    const { db, workspace, signal } = this.#options
    const recipe = parseRecipe(text)
    const local = await localKernel(db, { name: recipe.name, key }, recipe, {
      work: workspace.path,
    })
    return prepareBuilt(local.recipe, local.built, { workspace, signal })
  }
}
