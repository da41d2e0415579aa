import { createHash } from 'node:crypto'
import { access, mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { withLock } from '../base/lock.ts'
import { cacheRoot } from '../base/paths.ts'
import { sourceKey, sourceTarball } from './cache.ts'
import type { BuildLog } from './make.ts'
import type { Recipe } from './recipe.ts'

/**
 * The unpacked and patched source of a recipe. It stays in the cache: builds
 * are out of tree, and it is what to read when a boot surprises.
 */
export const unpackSource = async (
  recipe: Recipe,
  log: BuildLog,
): Promise<string> => {
  const hash = createHash('sha256').update(await sourceKey(recipe))
  for (const { text } of recipe.patches) hash.update(text)
  const root = join(cacheRoot(), 'sources')
  const directory = join(
    root,
    `${recipe.debianPackage}-${hash.digest('hex').slice(0, 16)}`,
  )
  await withLock(
    `${directory}.lock`,
    async () => {
      if (!(await exists(directory))) await unpack(recipe, directory, log)
    },
    { onWait: () => undefined, signal: log.signal },
  )
  return directory
}

/** Appears as a whole; what a killed process left behind is overwritten. */
const unpack = async (
  recipe: Recipe,
  directory: string,
  log: BuildLog,
): Promise<void> => {
  const partial = `${directory}.partial`
  await rm(partial, { recursive: true, force: true })
  await mkdir(partial)
  await log.run({
    phase: `unpack ${recipe.debianPackage}`,
    file: 'tar',
    args: [
      ...['-xf', sourceTarball(recipe.debianPackage)],
      ...['-C', partial, '--strip-components=1', '--no-same-owner'],
    ],
    cwd: partial,
  })
  for (const { path } of recipe.patches) {
    await log.run({
      phase: `apply ${path}`,
      file: 'patch',
      args: ['-p1', '--forward', '--batch', '--input', path],
      cwd: partial,
    })
  }
  await rename(partial, directory)
}

const exists = async (path: string): Promise<boolean> => {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}
