import type { Verdict } from '../judge/context.ts'
import { countVerdicts } from '../report/document.ts'
import { INTERRUPTED } from './interrupt.ts'

/** All exit codes of the program, for people. */
export const EXIT_STATUS: readonly (readonly [number, string])[] = [
  [0, 'nothing failed; cases that could not be run are counted as skipped'],
  [
    1,
    'a case failed, or its boot did not prove that what was asked took effect; a comparison or a check found something',
  ],
  [
    2,
    'something in the request is wrong, or all cases were skipped: nothing was booted',
  ],
  [3, 'nothing failed, but the rig, QEMU or the machine did'],
  [INTERRUPTED, 'interrupted'],
]

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
