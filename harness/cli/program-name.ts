import { existsSync } from 'node:fs'
import { join, relative } from 'node:path'
import { projectRoot } from '../base/paths.ts'

/**
 * tdxrig, as it is called from the current folder: the script of a checkout,
 * or the command of an installed package.
 */
export const programName = (): string => {
  const path = join(projectRoot(), 'scripts', 'tdxrig')
  if (!existsSync(path)) return 'tdxrig'
  const near = relative(process.cwd(), path)
  return near.startsWith('..') ? path : `./${near}`
}
