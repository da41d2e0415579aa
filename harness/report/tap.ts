import { stringify } from 'yaml'
import { visible } from '../base/text.ts'
import {
  type CaseOutcome,
  messagesOf,
  verdictOf,
} from '../judge/case-outcome.ts'
import { caseDocument } from './document.ts'
import type { Reporter, Reproduce } from './reporter.ts'

/** TAP 14 (https://testanything.org/tap-version-14-specification.html). */

const header = (cases: number): string => `TAP version 14\n1..${cases}\n`

/** A test point; with a YAML diagnostic unless it passed. */
const tapPoint = (
  outcome: CaseOutcome,
  number: number,
  reproduce: Reproduce,
): string => {
  const verdict = verdictOf(outcome)
  const ok = verdict === 'pass' || verdict === 'skip' ? 'ok' : 'not ok'
  const directive =
    verdict === 'skip' ? ` # SKIP ${escape(messagesOf(outcome)[0] ?? '')}` : ''
  const line = `${ok} ${number} - ${escape(outcome.item.id)}${directive}\n`
  return verdict === 'pass' || verdict === 'skip'
    ? line
    : line + diagnostic(outcome, reproduce)
}

/** TAP on a stream. @param write prints what it is given */
export const tapReporter = (
  write: (text: string) => void,
  reproduce: Reproduce,
): Reporter => {
  let number = 0
  return {
    start: ({ cases }) => {
      write(header(cases))
    },
    case: outcome => {
      write(tapPoint(outcome, ++number, reproduce))
    },
    end: ({ interrupted }) => {
      if (interrupted) write('Bail out! interrupted\n')
    },
  }
}

/** `#` begins a directive and line feeds a new line: neither may be meant. */
const escape = (text: string): string =>
  visible(text.replaceAll('\\', '\\\\').replaceAll('#', '\\#'))

const diagnostic = (outcome: CaseOutcome, reproduce: Reproduce): string => {
  const result = caseDocument(outcome, reproduce)
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
