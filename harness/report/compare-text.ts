import { visible } from '../base/text.ts'
import {
  type ChangedCase,
  type Comparison,
  changeText,
  endingOf,
} from './compare.ts'
import { rangeJson } from './layout-json.ts'
import type { ComparedCase } from './schema.ts'

/** A comparison for people: new failures first, nothing that is the same. */

/** Entries of a kind that are listed, but for new failures. */
const LISTED = 20

type Part = readonly [title: string, entries: readonly string[][]]

export const compareText = (comparison: Comparison): string => {
  const parts: readonly Part[] = [
    ['new failures', comparison.newFailures.map(failureLines)],
    ['fixed', comparison.fixed.map(({ id }) => [id])],
    ['still failing', comparison.stillFailing.map(({ id }) => [id])],
    ['not judged any more', comparison.unjudged.map(unjudgedLines)],
    ['TDX ends in another way', comparison.outcomes.map(outcomeLines)],
    [
      'other regions',
      comparison.regions.map(({ id, ranges }) => [
        id,
        ...ranges.map(changeText),
      ]),
    ],
    [
      'other headroom',
      comparison.headroom.map(({ id, figures }) => [
        id,
        ...figures.map(({ name, old, now }) => `${name}: ${old}, now ${now}`),
      ]),
    ],
    ['new cases', comparison.added.map(({ id }) => [id])],
    ['gone cases', comparison.gone.map(({ id }) => [id])],
  ]
  const told = parts.filter(([, entries]) => entries.length > 0)
  return told.length === 0
    ? 'nothing changed\n'
    : told.map(([title, entries]) => partText(title, entries)).join('')
}

const failureLines = ({ id, reasons, reproduce }: ComparedCase): string[] => [
  id,
  ...reasons.map(({ message }) => message),
  `again: ${reproduce}`,
]

const unjudgedLines = ({ id, now }: ChangedCase): string[] => [
  id,
  `${now.verdict}: ${now.reasons[0]?.message ?? ''}`,
]

const outcomeLines = ({ id, old, now }: ChangedCase): string[] => [
  id,
  `${endingOf(old)}, now ${endingOf(now)}`,
]

const partText = (title: string, entries: readonly string[][]): string => {
  const shown = title === 'new failures' ? entries : entries.slice(0, LISTED)
  const left = entries.length - shown.length
  return [
    `${title}: ${entries.length}`,
    ...shown.flatMap(([id = '', ...lines]) => [
      `  ${visible(id)}`,
      ...lines.map(line => `    ${visible(line)}`),
    ]),
    ...(left > 0 ? [`  and ${left} more`] : []),
    '',
  ].join('\n')
}

/** The same as JSON: ids, and what is different. */
export const compareJson = (comparison: Comparison): object => {
  const ids = (list: readonly { readonly id: string }[]): string[] =>
    list.map(({ id }) => id)
  return {
    schema: 'tdxrig.compare/1',
    newFailures: comparison.newFailures.map(({ id, verdict, reasons }) => ({
      id,
      verdict,
      reasons,
    })),
    fixed: ids(comparison.fixed),
    stillFailing: ids(comparison.stillFailing),
    unjudged: ids(comparison.unjudged),
    outcomes: comparison.outcomes.map(({ id, old, now }) => ({
      id,
      old: endingOf(old),
      now: endingOf(now),
    })),
    regions: comparison.regions.map(({ id, ranges }) => ({
      id,
      ranges: ranges.map(one => ({ ...rangeJson(one), kind: one.kind })),
    })),
    headroom: comparison.headroom.map(({ id, figures }) => ({ id, figures })),
    added: ids(comparison.added),
    gone: ids(comparison.gone),
  }
}
