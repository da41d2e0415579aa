import type { ResultDocument } from '../schema.ts'

/** `24 pass, 1 fail, 2 skip`. */
export const verdictCounts = ({
  summary,
}: Pick<ResultDocument, 'summary'>): string =>
  Object.entries(summary)
    .filter(
      ([verdict, count]) =>
        count > 0 || verdict === 'pass' || verdict === 'fail',
    )
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(', ')
