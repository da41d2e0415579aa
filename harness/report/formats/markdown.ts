import colors from 'picocolors'
import { visible } from '../../base/text.ts'
import { bars } from '../picture/bars.ts'
import { drawnCase } from '../picture/drawn.ts'
import { pictureOf } from '../picture/picture.ts'
import { rowsOf } from '../picture/rows.ts'
import { outcomeText } from '../prediction-text.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'
import { verdictCounts } from './words.ts'

/**
 * Markdown that is read as it is: a mail to a list. No line is longer than 72
 * columns but for a word that is longer itself.
 */

const COLUMNS = 72
/** More failing cases than that are only listed. */
const DETAILED = 20

export const markdown = (document: ResultDocument): string => {
  const { cases, kernels, rig } = document
  const wrong = cases.filter(isWrong)
  const others = cases.length - wrong.length
  return [
    ...heading(`tdxrig: ${verdictCounts(document)}`, '='),
    ...wrap(
      `${cases.length} cases on ${foreign(rig.machine)}, started ${document.started}.`,
    ),
    ...(document.interrupted
      ? ['', ...wrap('The run was interrupted: cases are missing.')]
      : []),
    '',
    ...kernels.flatMap(({ name, release, key }) =>
      wrap(
        `- ${foreign(name)}${release === null ? '' : `, Linux ${foreign(release)}`}, build ${key.slice(0, 12)}`,
        '  ',
      ),
    ),
    '',
    ...wrong.slice(0, DETAILED).flatMap(caseLines),
    ...(wrong.length > DETAILED
      ? [
          ...heading('More that did not pass', '-'),
          ...wrong
            .slice(DETAILED)
            .map(({ verdict, id }) => `- ${verdict}: ${foreign(visible(id))}`),
          '',
        ]
      : []),
    ...(others > 0 && wrong.length > 0
      ? [...wrap('All other cases passed, or were skipped.'), '']
      : []),
  ].join('\n')
}

const isWrong = ({ verdict }: CaseResult): boolean =>
  verdict === 'fail' || verdict === 'invalid' || verdict === 'error'

export const heading = (text: string, sign: string): string[] => {
  const lines = wrap(text)
  return [...lines, sign.repeat(Math.min(COLUMNS, lines.at(-1)!.length)), '']
}

const caseLines = (result: CaseResult): string[] => {
  const { id, verdict, reasons, tdx, words, why } = result
  const picture = bars(pictureOf(rowsOf(drawnCase(result))), {
    columns: COLUMNS - 2,
    ascii: true,
    colors: colors.createColors(false),
    differing: true,
  })
  return [
    ...heading(`${verdict}: ${foreign(id)}`, '-'),
    ...(why === '' ? [] : [...wrap(`Why it is tested: ${foreign(why)}`), '']),
    ...reasons.flatMap(({ message }) => wrap(`- ${foreign(message)}`, '  ')),
    '',
    ...(tdx
      ? wrap(`TDX: ${outcomeText(tdx.outcome, tdx.stage, tdx.errno)}`)
      : []),
    ...(words.length > 0
      ? wrap(`Kernel parameters: ${foreign(words.join(' '))}`, '  ')
      : []),
    '',
    ...(picture.length > 0 ? [...picture.map(line => `  ${line}`), ''] : []),
    'Run it again:',
    '',
    ...command(result.reproduce),
    '',
  ]
}

/** A shell line in several, between its words: each but the last goes on. */
const command = (line: string): string[] => {
  const words = visible(line).match(/(?:'[^']*'|\\.|[^\s'\\])+/g) ?? []
  const lines: string[] = []
  for (const word of words) {
    const last = lines.at(-1)
    if (last !== undefined && `${last} ${word}`.length <= COLUMNS - 6)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(lines.length === 0 ? word : `  ${word}`)
  }
  return lines.map(
    (text, i) => `    ${text}${i < lines.length - 1 ? ' \\' : ''}`,
  )
}

/**
 * Text of a console or a file: it makes no tag, link or image, and no heading
 * or quotation where a line begins with it.
 */
export const foreign = (text: string): string =>
  text
    .replaceAll(/[<`]|\](?=\()/g, sign => `\\${sign}`)
    .replaceAll(/(?<=^|\s)[#>]/g, sign => `\\${sign}`)

/** @param hang what lines behind the first begin with */
export const wrap = (text: string, hang = '', columns = COLUMNS): string[] => {
  const lines: string[] = []
  let line = ''
  for (const word of visible(text.replaceAll(/\s+/g, ' ')).trim().split(' ')) {
    if (line.trim() === '' && lines.length === 0) line = word
    else if (`${line} ${word}`.length <= columns) line = `${line} ${word}`
    else {
      lines.push(line)
      line = `${hang}${word}`
    }
  }
  return [...lines, line]
}
