import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { InfraError } from './errors.ts'
import { projectRoot } from './paths.ts'

/**
 * A file that a bundle has beside its programs (scripts/bundle): looked for
 * beside this program, and in the newest bundle of the checkout.
 *
 * @throws InfraError where it was not built
 */
export const assetPath = (name: string): string => {
  const here = dirname(fileURLToPath(import.meta.url))
  const found = [here, dirname(here), join(projectRoot(), 'dist')]
    .map(folder => join(folder, name))
    .find(path => existsSync(path))
  if (found !== undefined) return found
  throw new InfraError(
    'NO_ASSET',
    `expected ${name} beside the program, found none: build it with ./scripts/build`,
  )
}
