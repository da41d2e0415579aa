import { visible } from '../../base/text.ts'
import { outcomeText } from '../prediction-text.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'
import { verdictCounts } from './words.ts'

/** What GitHub Actions shows of a run: annotations and the summary of a step. */

/**
 * The workflow command that annotates a scenario file; nothing for a case that
 * passed. Percent signs and line ends would end it
 * (actions/toolkit, packages/core/src/command.ts).
 */
export const annotation = (result: CaseResult): string => {
  const { verdict, id, scenario, reasons } = result
  if (verdict === 'pass') return ''
  const level = verdict === 'skip' ? 'notice' : 'error'
  const message = reasons.map(one => visible(one.message)).join('\n')
  const again =
    verdict === 'skip' ? '' : `\nagain: ${visible(result.reproduce)}`
  return `::${level} file=${property(scenario)},title=${property(`${verdict}: ${id}`)}::${data(`${message}${again}`)}\n`
}

export const annotations = ({ cases }: ResultDocument): string =>
  cases.map(annotation).join('')

const data = (text: string): string =>
  text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')

const property = (text: string): string =>
  data(visible(text)).replaceAll(':', '%3A').replaceAll(',', '%2C')

/** GitHub refuses a summary of more than a mebibyte. */
const MAX_SUMMARY = 1024 * 1024 - 1024
const SHOWN = 200

/** Markdown for `$GITHUB_STEP_SUMMARY`. */
export const stepSummary = (document: ResultDocument): string => {
  const wrong = document.cases.filter(
    ({ verdict }) => verdict !== 'pass' && verdict !== 'skip',
  )
  const lines = [
    `### ${SIGN[wrong.length === 0 ? 'pass' : 'fail']} tdxrig: ${verdictCounts(document)}`,
    '',
    cell(document.rig.machine),
    '',
    ...(wrong.length === 0
      ? []
      : [
          '| | case | kernel | TDX | why |',
          '|-|-|-|-|-|',
          ...wrong.slice(0, SHOWN).map(row),
          '',
        ]),
    ...(wrong.length > SHOWN ? [`and ${wrong.length - SHOWN} more`, ''] : []),
  ]
  let length = 0
  return lines
    .filter(line => (length += line.length + 1) < MAX_SUMMARY)
    .join('\n')
}

const SIGN: Readonly<Record<CaseResult['verdict'], string>> = {
  pass: '✅',
  fail: '❌',
  invalid: '⚠️',
  error: '💥',
  skip: '⏭️',
}

const row = ({ verdict, id, kernel, tdx, reasons }: CaseResult): string => {
  const ended = tdx ? outcomeText(tdx.outcome, tdx.stage, tdx.errno) : ''
  const why = (reasons[0]?.message ?? '').slice(0, 500)
  return `| ${SIGN[verdict]} ${verdict} | ${[id, kernel, ended, why].map(cell).join(' | ')} |`
}

/** Text in a table: neither markup nor the end of a cell. */
const cell = (text: string): string =>
  visible(text.replaceAll(/\s+/g, ' ')).replaceAll(
    /[\\`*_{}[\]<>()#+\-.!|~&@:$]/g,
    character => `&#${character.charCodeAt(0)};`,
  )
