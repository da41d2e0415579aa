import { compareRuns } from '../report/compare.ts'
import { compareJson, compareText } from '../report/compare-text.ts'
import { type HistoryFlags, bothCompared } from './history-place.ts'

/**
 * `tdxrig compare`: what is different between two runs.
 *
 * @returns 1 when a case fails that did not fail before
 */
export const compareCommand = async (
  old: string,
  now: string,
  { json = false, ...flags }: HistoryFlags & { readonly json?: boolean },
): Promise<number> => {
  const comparison = compareRuns(...(await bothCompared(old, now, flags)))
  process.stdout.write(
    json
      ? `${JSON.stringify(compareJson(comparison), null, 2)}\n`
      : compareText(comparison),
  )
  return comparison.newFailures.length > 0 ? 1 : 0
}
