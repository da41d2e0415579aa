import type { CaseResult } from '../report/schema.ts'

/** What of a result tells one defect from another. */

/** The kernel's own node ranges, or an outcome the model has no word for. */
export const isWeak = ({ regions, predicted }: CaseResult): boolean =>
  regions.basis === 'console' || predicted?.outcome == null

const checksOf = ({ reasons }: CaseResult): string[] => [
  ...new Set(reasons.map(({ check }) => check)),
]

/** What is wrong, without the figures: the same defect gives the same text. */
export const signatureOf = (result: CaseResult): string =>
  [result.kernel, result.verdict, ...checksOf(result)].join(' ')

/** Something smaller may show less of a defect, and nothing else. */
export const isSameDefect = (
  smaller: CaseResult,
  whole: CaseResult,
): boolean => {
  const checks = checksOf(whole)
  const left = checksOf(smaller)
  return (
    smaller.verdict === whole.verdict &&
    left[0] === checks[0] &&
    left.every(check => checks.includes(check))
  )
}
