import { stringify } from 'yaml'
import { visible, visibleQuoted } from '../base/text.ts'
import type { Reporter } from './reporter.ts'
import type { CaseResult } from './schema.ts'

/**
 * TAP 14 (https://testanything.org/tap-version-14-specification.html). A case
 * that was booted is a subtest with a point for each check.
 */

/** A test point, before it has a number. */
interface Point {
  readonly ok: boolean
  readonly name: string
  /** Why it is skipped; undefined: it is not. */
  readonly skip?: string | undefined
  /** Undefined: there is nothing to add. */
  readonly diagnostic?: object | undefined
}

/** TAP on a stream. @param write prints what it is given */
export const tapReporter = (write: (text: string) => void): Reporter => {
  let number = 0
  return {
    start: ({ cases }) => {
      write(`TAP version 14\n1..${cases}\n`)
    },
    case: result => {
      write(caseText(result, ++number))
    },
    end: ({ interrupted }) => {
      if (interrupted) write('Bail out! interrupted\n')
    },
  }
}

const caseText = (result: CaseResult, number: number): string => {
  const points = checkPoints(result)
  const subtest = [
    `# Subtest: ${escape(result.id)}\n`,
    ...points.map((point, i) => indent(pointText(point, i + 1))),
    `    1..${points.length}\n`,
  ]
  return [
    ...(result.end === null ? [] : subtest),
    pointText(casePoint(result), number),
  ].join('')
}

const casePoint = (result: CaseResult): Point => {
  const { verdict, reasons } = result
  return {
    ok: verdict === 'pass' || verdict === 'skip',
    name: result.id,
    skip: verdict === 'skip' ? (reasons[0]?.message ?? '') : undefined,
    diagnostic:
      verdict === 'pass' || verdict === 'skip'
        ? undefined
        : {
            verdict,
            reasons: reasons.map(({ check, message }) => ({ check, message })),
            outcome: result.tdx?.outcome,
            stage: result.tdx?.stage,
            errno: result.tdx?.errno,
            console: result.console,
            reproduce: result.reproduce,
          },
  }
}

/** Checks that found nothing; what was found wrong; what nobody saw. */
const checkPoints = ({ passed, reasons, unobserved }: CaseResult): Point[] => [
  ...passed.map(check => ({ ok: true, name: check })),
  ...reasons.map(({ check, ...diagnostic }) => ({
    ok: false,
    name: check,
    diagnostic,
  })),
  ...unobserved.map(({ check, missing }) => ({
    ok: true,
    name: check,
    skip: `not observed, for want of: ${missing.join(', ')}`,
  })),
]

const pointText = (
  { ok, name, skip, diagnostic }: Point,
  number: number,
): string => {
  const directive = skip === undefined ? '' : ` # SKIP ${escape(skip)}`
  return `${ok ? 'ok' : 'not ok'} ${number} - ${escape(name)}${directive}\n${diagnostic ? yamlBlock(diagnostic) : ''}`
}

/** `#` begins a directive and line feeds a new line: neither may be meant. */
const escape = (text: string): string =>
  visible(text.replaceAll('\\', '\\\\').replaceAll('#', '\\#'))

const indent = (text: string): string => text.replaceAll(/^(?=.)/gm, '    ')

const yamlBlock = (data: object): string => {
  // Quoted on one line each: no console text can end the block.
  const text = stringify(data, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'PLAIN',
    lineWidth: 0,
    doubleQuotedAsJSON: true,
  })
  // JSON leaves DEL, the controls behind it and signs of direction as they are.
  const lines = text.trimEnd().split('\n').map(visibleQuoted)
  return `  ---\n${lines.map(line => `  ${line}\n`).join('')}  ...\n`
}
