import { join, relative } from 'node:path'
import { projectRoot } from '../base/paths.ts'
import type { ResultDocument } from '../report/schema.ts'
import { INTERRUPTED } from './interrupt.ts'

/** Our script, from the current folder. */
export const programName = (): string => {
  const path = join(projectRoot(), 'scripts', 'tdxrig')
  const near = relative(process.cwd(), path)
  return near.startsWith('..') ? path : `./${near}`
}

/** What became of the cases, as an exit code. */
export const exitCode = ({
  interrupted,
  summary,
  cases,
}: ResultDocument): number => {
  if (interrupted) return INTERRUPTED
  if (summary.fail + summary.invalid > 0) return 1
  // Nothing was booted: that is no success.
  if (summary.skip > 0 && summary.skip === cases.length) return 2
  return summary.error > 0 ? 3 : 0
}
