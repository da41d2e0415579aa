import type { Colors } from 'picocolors/types.js'
import { visible } from '../base/text.ts'
import {
  type CaseOutcome,
  type JudgedOutcome,
  messagesOf,
  verdictOf,
} from '../judge/case-outcome.ts'
import { onlineResults, updateResults } from '../judge/checks/steps.ts'
import type { Verdict } from '../judge/context.ts'
import { observeEnding } from '../judge/observed-ending.ts'
import { WITNESS_NAMES } from '../machine/record.ts'
import { caseDocument, countVerdicts } from './document.ts'
import type { Screen } from './picture/bars.ts'
import { drawnCase } from './picture/drawn.ts'
import { outcomeText, pictureLines } from './prediction-text.ts'
import type { Reporter, Reproduce, RunEnd, RunHead } from './reporter.ts'

/** Text for people: one line a case, reasons below, a summary at the end. */

const MARK: Readonly<Record<Verdict, (colors: Colors) => string>> = {
  pass: c => c.green('pass   '),
  fail: c => c.red('FAIL   '),
  invalid: c => c.yellow('INVALID'),
  error: c => c.magenta('ERROR  '),
  skip: c => c.dim('skip   '),
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

/** What became of TDX, shortly. */
const shortly = ({ item, judgement, evidence }: JudgedOutcome): string => {
  const { record, facts } = evidence
  const { memory, steps } = record.witnesses
  const { outcome, stage, errno } = observeEnding(facts, record)
  const count = (memory?.regions ?? facts.tdx.regions)?.length
  const { numaFallback } = judgement.prediction.layout
  const seen = judgement.witnesses.length
  if (judgement.scope === 'layout')
    return `memory layout only, the kernel has no TDX host support, ${seconds(record.timing.total)}`
  return [
    outcomeText(outcome, stage, errno),
    ...(count === undefined
      ? []
      : [`${count} region${count === 1 ? '' : 's'}`]),
    // A table of the scenario's own that came to nothing is worth a word.
    ...(item.machine.firmware.srat && numaFallback !== undefined
      ? ['SRAT not used']
      : []),
    ...(steps ? onlineResults({ item, facts }) : []).map(
      ({ dimm, result }) => `${dimm} ${result}`,
    ),
    ...(steps ? updateResults({ item, facts }) : []),
    ...(seen < WITNESS_NAMES.length
      ? [`${seen} of ${WITNESS_NAMES.length} witnesses`]
      : []),
    seconds(record.timing.total),
  ].join(', ')
}

export interface PrettyOptions {
  readonly screen: Screen
  /** Where the result document lies, for paths that can be opened. */
  readonly folder: string
  readonly reproduce: Reproduce
}

export const prettyCase = (
  outcome: CaseOutcome,
  { screen, folder, reproduce }: PrettyOptions,
): string => {
  const { colors } = screen
  const verdict = verdictOf(outcome)
  const head = `${MARK[verdict](colors)} ${visible(outcome.item.id)}`
  if (verdict === 'skip')
    return `${head}  ${colors.dim(visible(messagesOf(outcome).join('; ')))}`
  const judged = outcome.kind === 'judged'
  const tail = colors.dim(judged ? shortly(outcome) : seconds(0))
  if (verdict === 'pass') return `${head}  ${tail}`
  const details = [
    ...messagesOf(outcome),
    ...(judged && outcome.console !== null
      ? [`console: ${folder}/${outcome.console}`]
      : []),
    `again: ${reproduce(outcome)}`,
  ]
  return [
    `${head}  ${tail}`,
    ...details.map(line => `          ${visible(line)}`),
    ...(judged ? differenceLines(outcome, { screen, reproduce }) : []),
  ].join('\n')
}

/** Where the kernel's memory is not as predicted, as a picture. */
const differenceLines = (
  outcome: JudgedOutcome,
  { screen, reproduce }: Pick<PrettyOptions, 'screen' | 'reproduce'>,
): string[] =>
  pictureLines(drawnCase(caseDocument(outcome, reproduce)), {
    ...screen,
    differing: true,
  })

export const prettySummary = (
  { rig }: Pick<RunHead, 'rig'>,
  { verdicts, durationMs, interrupted, resumed }: RunEnd,
  colors: Colors,
): string => {
  const counts = countVerdicts(verdicts)
  const words = Object.entries(counts)
    .filter(
      ([verdict, count]) =>
        count > 0 || verdict === 'pass' || verdict === 'fail',
    )
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(', ')
  const cases = verdicts.length
  const rate = (cases - resumed) / (durationMs / 60_000)
  const ok = counts.pass + counts.skip === cases && !interrupted
  const text = `${cases} case${cases === 1 ? '' : 's'}: ${words} in ${seconds(durationMs)} (${rate.toFixed(0)} a minute)${resumed > 0 ? `, ${resumed} of them from the resumed run` : ''}`
  return [
    ...(interrupted
      ? [colors.yellow('interrupted: only the cases above were finished')]
      : []),
    ok ? colors.green(text) : colors.red(text),
    colors.dim(rig.machine),
  ].join('\n')
}

/** @param write prints what it is given */
export const prettyReporter = (
  write: (text: string) => void,
  options: PrettyOptions,
): Reporter => {
  let head: RunHead | undefined
  return {
    start: started => {
      head = started
    },
    case: outcome => {
      write(`${prettyCase(outcome, options)}\n`)
    },
    end: end => {
      if (head) write(`\n${prettySummary(head, end, options.screen.colors)}\n`)
    },
  }
}
