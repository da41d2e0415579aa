import { visible } from '../base/text.ts'
import {
  type ChangePart,
  type Comparison,
  changeParts,
  endingOf,
} from './compare.ts'
import { rangeJson } from './layout-json.ts'

/** Entries of a kind that are listed, but for new failures. */
const LISTED = 20

/** A comparison as text. */
export const compareText = (comparison: Comparison): string => {
  const parts = changeParts(comparison)
  return parts.length === 0 ? 'nothing changed\n' : parts.map(partText).join('')
}

const partText = ({ title, isAlarm, entries }: ChangePart): string => {
  const shown = isAlarm ? entries : entries.slice(0, LISTED)
  const left = entries.length - shown.length
  return [
    `${title}: ${entries.length}`,
    ...shown.flatMap(({ id, lines }) => [
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
