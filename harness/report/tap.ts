import { stringify } from 'yaml'
import { visible } from '../base/text.ts'
import type { CaseResult } from './schema.ts'

/** TAP 14 (https://testanything.org/tap-version-14-specification.html). */

export const tapHeader = (cases: number): string =>
  `TAP version 14\n1..${cases}\n`

/** A test point; with a YAML diagnostic unless it passed. */
export const tapPoint = (result: CaseResult, number: number): string => {
  const { verdict } = result
  const ok = verdict === 'pass' || verdict === 'skip' ? 'ok' : 'not ok'
  const directive =
    verdict === 'skip'
      ? ` # SKIP ${escape(result.reasons[0]?.message ?? '')}`
      : ''
  const line = `${ok} ${number} - ${escape(result.id)}${directive}\n`
  return verdict === 'pass' || verdict === 'skip'
    ? line
    : line + diagnostic(result)
}

/** `#` begins a directive and line feeds a new line: neither may be meant. */
const escape = (text: string): string =>
  visible(text.replaceAll('\\', '\\\\').replaceAll('#', '\\#'))

const diagnostic = (result: CaseResult): string => {
  const data = {
    verdict: result.verdict,
    reasons: result.reasons.map(({ check, message }) => ({ check, message })),
    outcome: result.tdx?.outcome,
    stage: result.tdx?.stage,
    errno: result.tdx?.errno,
    console: result.console,
    reproduce: result.reproduce,
  }
  // Quoted on one line each: no console text can end the block.
  const text = stringify(data, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'PLAIN',
    lineWidth: 0,
    doubleQuotedAsJSON: true,
  })
  const indented = text.trimEnd().replaceAll(/^/gm, '  ')
  return `  ---\n${indented}\n  ...\n`
}
