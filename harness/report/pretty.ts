import type { Colors } from 'picocolors/types.js'
import { visible } from '../base/text.ts'
import type { CaseResult, ResultDocument } from './schema.ts'

/** Text for people: one line a case, reasons below, a summary at the end. */

const MARK: Readonly<
  Record<CaseResult['verdict'], (colors: Colors) => string>
> = {
  pass: c => c.green('pass   '),
  fail: c => c.red('FAIL   '),
  invalid: c => c.yellow('INVALID'),
  error: c => c.magenta('ERROR  '),
  skip: c => c.dim('skip   '),
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

/** What became of TDX, shortly. */
const outcome = (result: CaseResult): string => {
  const { tdx, regions, online, predicted, machine } = result
  if (!tdx) return ''
  const count = regions.memory?.length ?? regions.printed?.length
  const errno = tdx.errno === null ? '' : ` (${tdx.errno})`
  const stage = tdx.stage && tdx.stage !== 'done' ? ` at ${tdx.stage}` : ''
  const list =
    count === undefined ? '' : `, ${count} region${count === 1 ? '' : 's'}`
  const dimms = online.map(({ dimm, result }) => `, ${dimm} ${result}`).join('')
  // A table of the scenario's own that came to nothing is worth a word.
  const unused =
    machine.firmware.srat && predicted?.numaFallback ? ', SRAT not used' : ''
  return `${tdx.outcome}${stage}${errno}${list}${unused}${dimms}`
}

/** @param folder where the result document lies, for paths that can be opened */
export const prettyCase = (
  result: CaseResult,
  folder: string,
  colors: Colors,
): string => {
  const head = `${MARK[result.verdict](colors)} ${visible(result.id)}`
  const tail = colors.dim(
    [outcome(result), seconds(result.timing.totalMs)]
      .filter(Boolean)
      .join(', '),
  )
  if (result.verdict === 'pass') return `${head}  ${tail}`
  if (result.verdict === 'skip')
    return `${head}  ${colors.dim(visible(result.reasons.map(({ message }) => message).join('; ')))}`
  const details = [
    ...result.reasons.map(({ message }) => message),
    ...(result.console === null
      ? []
      : [`console: ${folder}/${result.console}`]),
    `again: ${result.reproduce}`,
  ]
  return [
    `${head}  ${tail}`,
    ...details.map(line => `          ${visible(line)}`),
  ].join('\n')
}

export const prettySummary = (
  document: ResultDocument,
  colors: Colors,
): string => {
  const { summary, cases, durationMs } = document
  const words = Object.entries(summary)
    .filter(
      ([verdict, count]) =>
        count > 0 || verdict === 'pass' || verdict === 'fail',
    )
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(', ')
  const rate = cases.length / (durationMs / 60_000)
  const ok =
    summary.pass + summary.skip === cases.length && !document.interrupted
  const text = `${cases.length} case${cases.length === 1 ? '' : 's'}: ${words} in ${seconds(durationMs)} (${rate.toFixed(0)} a minute)`
  return [
    ...(document.interrupted
      ? [colors.yellow('interrupted: only the cases above were finished')]
      : []),
    ok ? colors.green(text) : colors.red(text),
    colors.dim(document.rig.machine),
  ].join('\n')
}
