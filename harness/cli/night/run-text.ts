import { visible } from '../../base/text.ts'
import type { NightProgress } from '../../night/cell-book.ts'
import {
  casesText,
  classCounts,
  duration,
  reductionText,
} from '../../night/morning-text.ts'
import type { Prepared } from '../../night/prepare.ts'
import type { Log } from './log.ts'

/** What `night run` says of a plan, and while it goes on. */

/** Milliseconds between two lines about how far it is. */
const LINE = 30_000
/** Milliseconds between two looks of whoever asks for the status. */
const SNAPSHOT = 1_000

/** @returns tells of progress, and whether the status is worth writing */
export const progressTeller = (
  log: Log,
): ((progress: NightProgress) => boolean) => {
  let line = -Infinity
  let snapshot = -Infinity
  return ({ cells, open, given, classes }) => {
    const now = performance.now()
    if (now - line > LINE || open === 0) {
      line = now
      log(
        'progress',
        `${cells - open} of ${cells} cases, ${classCounts(classes)}; ${given} given out`,
      )
    }
    if (now - snapshot < SNAPSHOT && open > 0) return false
    snapshot = now
    return true
  }
}

/** In a line. */
export const planLine = ({ plan, cells, kernels }: Prepared): string =>
  [
    `${casesText(cells.length)} on ${kernels.map(({ name }) => name).join(', ')}`,
    ...(plan.budgetMs === null ? [] : [`${duration(plan.budgetMs)} for them`]),
    ...(plan.reduction ? [reductionText(plan.reduction)] : []),
  ].join('; ')

/** Each case, for `--dry-run`. */
export const planText = ({ plan, cells, kernels, leftOut }: Prepared): string =>
  [
    `night '${plan.name}', kept as '${plan.label}'`,
    '',
    'kernels:',
    ...kernels.map(
      ({ name, origin }) =>
        `  ${name}${origin === null ? '' : `: ${visible(origin.text)}`}`,
    ),
    '',
    ...(plan.reduction ? [reductionText(plan.reduction), ''] : []),
    ...plan.otherNights.map(text => `not this night: ${visible(text)}`),
    `cases: ${cells.length}`,
    ...cells.map(({ id, places, isOffered, estimateMs, repeat, note }) =>
      visible(
        `  ${id}  ${note === null ? `${places.join(', ')}, about ${(estimateMs / 1000).toFixed(1)} s${repeat > 1 ? `, ${repeat} boots` : ''}` : `${isOffered ? 'skipped' : 'not run'}: ${note}`}`,
      ),
    ),
    ...(leftOut.length > 0
      ? [
          '',
          `left out: ${leftOut.length}`,
          ...leftOut.map(({ id }) => visible(`  ${id}`)),
        ]
      : []),
    '',
  ].join('\n')
