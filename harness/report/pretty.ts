import type { Colors } from 'picocolors/types.js'
import { visible } from '../base/text.ts'
import type { Verdict } from '../judge/context.ts'
import { WITNESS_NAMES } from '../machine/record.ts'
import { countVerdicts } from './document.ts'
import type { Screen } from './picture/bars.ts'
import { drawnCase } from './picture/drawn.ts'
import { verdictCounts } from './formats/words.ts'
import { outcomeText, pictureLines } from './prediction-text.ts'
import type { Reporter, RunEnd, RunHead } from './reporter.ts'
import type { CaseResult } from './schema.ts'

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
const shortly = (result: CaseResult): string => {
  const { regions, tdx, timing, witnesses } = result
  const count = (regions.memory ?? regions.printed)?.length
  if (result.scope === 'layout')
    return `memory layout only, the kernel has no TDX host support, ${seconds(timing.totalMs)}`
  return [
    ...(tdx ? [outcomeText(tdx.outcome, tdx.stage, tdx.errno)] : []),
    ...(count === undefined
      ? []
      : [`${count} region${count === 1 ? '' : 's'}`]),
    // A table of the scenario's own that came to nothing is worth a word.
    ...(result.machine.firmware.srat && result.layout.numaFallback !== null
      ? ['SRAT not used']
      : []),
    ...(result.online ?? []).map(({ dimm, result }) => `${dimm} ${result}`),
    ...(result.memory ?? []).map(({ memory, result }) => `${memory} ${result}`),
    ...(result.updates ?? []),
    ...nextText(result),
    ...(witnesses.length < WITNESS_NAMES.length
      ? [`${witnesses.length} of ${WITNESS_NAMES.length} witnesses`]
      : []),
    ...attemptsText(result),
    seconds(timing.totalMs),
  ].join(', ')
}

/** What became of TDX on the kernel that a kexec step started. */
const nextText = ({ next }: CaseResult): string[] => {
  if (!next) return []
  const { outcome, stage, errno } = next.tdx
  const count = (next.regions.memory ?? next.regions.printed)?.length
  return [
    `then ${outcomeText(outcome, stage, errno)}`,
    ...(count === undefined || count === 0
      ? []
      : [`${count} region${count === 1 ? '' : 's'}`]),
  ]
}

/** `2 of 3 attempts passed`; nothing where there was one. */
const attemptsText = ({ attempts }: CaseResult): string[] => {
  const passed = attempts.filter(({ verdict }) => verdict === 'pass').length
  return attempts.length < 2
    ? []
    : [`${passed} of ${attempts.length} attempts passed`]
}

export interface PrettyOptions {
  /** Say nothing of what passed or was skipped; default: say it. */
  readonly quiet?: boolean
  readonly screen: Screen
  /** Where the result document lies, for paths that can be opened. */
  readonly folder: string
}

export const prettyCase = (
  result: CaseResult,
  { screen, folder }: PrettyOptions,
): string => {
  const { colors } = screen
  const { verdict, console, reproduce } = result
  const messages = result.reasons.map(({ message }) => message)
  const head = `${MARK[verdict](colors)} ${visible(result.id)}`
  if (verdict === 'skip')
    return `${head}  ${colors.dim(visible(messages.join('; ')))}`
  const booted = result.end !== null
  const tail = colors.dim(booted ? shortly(result) : seconds(0))
  if (verdict === 'pass') return `${head}  ${tail}`
  const details = [
    ...messages,
    ...(console === null ? [] : [`console: ${folder}/${console}`]),
    `again: ${reproduce}`,
  ]
  return [
    `${head}  ${tail}`,
    ...details.map(line => `          ${visible(line)}`),
    ...(booted
      ? pictureLines(drawnCase(result), { ...screen, differing: true })
      : []),
  ].join('\n')
}

export const prettySummary = (
  { rig }: Pick<RunHead, 'rig'>,
  { verdicts, durationMs, interrupted, resumed }: RunEnd,
  colors: Colors,
): string => {
  const counts = countVerdicts(verdicts)
  const words = verdictCounts({ summary: counts })
  const cases = verdicts.length
  const rate = (cases - resumed) / (durationMs / 60_000)
  const ok = counts.pass + counts.skip === cases && !interrupted
  const text = `${cases} case${cases === 1 ? '' : 's'}: ${words} in ${seconds(durationMs)}${Number.isFinite(rate) ? ` (${rate.toFixed(0)} a minute)` : ''}${resumed > 0 ? `, ${resumed} of them from the resumed run` : ''}`
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
    case: result => {
      const good = result.verdict === 'pass' || result.verdict === 'skip'
      if (options.quiet && good) return
      write(`${prettyCase(result, options)}\n`)
    },
    end: end => {
      if (head) write(`\n${prettySummary(head, end, options.screen.colors)}\n`)
    },
  }
}
