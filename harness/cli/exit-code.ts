import type { Verdict } from '../judge/context.ts'
import { countVerdicts } from '../report/document.ts'
import { INTERRUPTED } from './interrupt.ts'

/** What became of the cases, as an exit code. */
export const exitCode = (
  verdicts: readonly Verdict[],
  interrupted: boolean,
): number => {
  if (interrupted) return INTERRUPTED
  const counts = countVerdicts(verdicts)
  if (counts.fail + counts.invalid > 0) return 1
  // Nothing was booted: that is no success.
  if (counts.skip > 0 && counts.skip === verdicts.length) return 2
  return counts.error > 0 ? 3 : 0
}
