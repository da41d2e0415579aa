import type { JudgedOutcome } from '../judge/case-outcome.ts'

/** What of a result tells one defect from another. */

/** The kernel's own node ranges, or an outcome the model leaves open. */
export const isWeak = ({
  judgement: { basis, prediction },
}: Pick<JudgedOutcome, 'judgement'>): boolean =>
  basis === 'console' || prediction.outcome === undefined

const checksOf = ({
  judgement: { reasons },
}: Pick<JudgedOutcome, 'judgement'>): string[] => [
  ...new Set(reasons.map(({ check }) => check)),
]

/** What is wrong, without the figures: the same defect gives the same text. */
export const signatureOf = (
  outcome: Pick<JudgedOutcome, 'judgement' | 'kernel'>,
): string =>
  [outcome.kernel.name, outcome.judgement.verdict, ...checksOf(outcome)].join(
    ' ',
  )

/** Something smaller may show less of a defect, and nothing else. */
export const isSameDefect = (
  smaller: Pick<JudgedOutcome, 'judgement'>,
  whole: Pick<JudgedOutcome, 'judgement'>,
): boolean => {
  const checks = checksOf(whole)
  const left = checksOf(smaller)
  return (
    smaller.judgement.verdict === whole.judgement.verdict &&
    left[0] === checks[0] &&
    left.every(check => checks.includes(check))
  )
}
