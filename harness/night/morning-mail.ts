import {
  type MorningContext,
  morningHeadline,
  morningParts,
} from './morning-text.ts'
import type { NightResult } from './morning.ts'
import { foreign, heading, wrap } from '../report/formats/markdown.ts'

/** Entries of a part that a mail tells. */
const LISTED = 20

/**
 * The morning as a mail: what has changed and what happened, then the cases
 * that did not pass, as the report of a run has them.
 *
 * @param details that report
 */
export const morningMail = (
  result: NightResult,
  context: MorningContext,
  details: string,
): string =>
  [
    ...heading(morningHeadline(result), '='),
    ...(context.lastNight
      ? [...wrap(`Compared with ${context.lastNight.name}.`), '']
      : []),
    ...morningParts(result, context).flatMap(({ title, entries }) => [
      ...heading(`${title}: ${entries.length}`, '-'),
      ...entries
        .slice(0, LISTED)
        .flatMap(({ text, lines }) => [
          ...wrap(`- ${foreign(text)}`, '  '),
          ...lines.flatMap(line => wrap(`  - ${foreign(line)}`, '    ')),
        ]),
      ...(entries.length > LISTED
        ? [`- and ${entries.length - LISTED} more`]
        : []),
      '',
    ]),
    details,
  ].join('\n')
