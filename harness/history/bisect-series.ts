import type { Finding } from './bisect-commits.ts'

/** The first that is bad of things in a row, or those that may be it. */
export interface FirstBad {
  /** Places in the row; more than one where those between cannot be judged. */
  readonly candidates: readonly number[]
}

/**
 * Finds the first bad of `count` things that come one after the other. What
 * is before the first is known to be good, and the last to be bad.
 *
 * @param judge is asked for a place from 0 to `count - 2`
 */
export const bisectSeries = async (
  count: number,
  judge: (place: number) => Promise<Finding>,
): Promise<FirstBad> => {
  let good = -1
  let bad = count - 1
  const skipped = new Set<number>()
  for (;;) {
    const place = nextPlace(good, bad, skipped)
    if (place === undefined)
      return {
        candidates: Array.from({ length: bad - good }, (_, i) => good + 1 + i),
      }
    const finding = await judge(place)
    if (finding === 'skip') skipped.add(place)
    else if (finding === 'good') good = place
    else bad = place
  }
}

/** The one nearest to the middle that can be judged. */
const nextPlace = (
  good: number,
  bad: number,
  skipped: ReadonlySet<number>,
): number | undefined => {
  const middle = (good + bad) / 2
  return Array.from({ length: bad - good - 1 }, (_, i) => good + 1 + i)
    .filter(place => !skipped.has(place))
    .sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle))[0]
}
