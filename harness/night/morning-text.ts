import { visible } from '../base/text.ts'
import type { Onset, SeenCase } from '../history/first-bad.ts'
import type { Comparison } from '../report/compare.ts'
import { type CellClass, CELL_CLASSES } from './decide.ts'
import { type NightCell, type NightResult, countClasses } from './morning.ts'
import type { Plan } from './plan.ts'

/** What a night is compared with. */
export interface Against {
  /** For people: `the night of 2026-11-28`. */
  readonly name: string
  readonly comparison: Comparison
}

/** What is known beside the night itself. */
export interface MorningContext {
  readonly lastNight: Against | undefined
  readonly release: Against | undefined
  readonly onsets: ReadonlyMap<string, Onset>
  /** The command that looks for the change, by case. */
  readonly bisects: ReadonlyMap<string, string>
  /** Where the details are, for people. */
  readonly report: string
}

const isFailing = ({ class: is }: NightCell): boolean =>
  is === 'fail' || is === 'invalid' || is === 'unconfirmed'

/** Failures that were none in the last night, or in none that is known. */
export const newFailures = (
  { cells }: Pick<NightResult, 'cells'>,
  last: Against | undefined,
): NightCell[] => {
  const fresh = new Set(last?.comparison.newFailures.map(({ id }) => id))
  return cells.filter(cell => isFailing(cell) && (!last || fresh.has(cell.id)))
}

/** A heading with what stands below it. */
export interface MorningPart {
  readonly title: string
  readonly entries: readonly {
    readonly text: string
    readonly lines: readonly string[]
  }[]
}

/** Entries of a part that are told one by one. */
const LISTED = 50

/** What somebody wants to know first comes first. */
export const morningParts = (
  result: NightResult,
  context: MorningContext,
): MorningPart[] => {
  const { cells, events, kernels, night } = result
  const { lastNight, release } = context
  const fresh = newFailures(result, lastNight)
  const isFresh = new Set(fresh)
  const of = (is: CellClass): NightCell[] =>
    cells.filter(cell => cell.class === is)
  const parts: MorningPart[] = [
    {
      title: lastNight ? 'new failures' : 'failures',
      entries: fresh.map(cell => failure(cell, context)),
    },
    {
      title: 'still failing',
      entries: cells
        .filter(cell => isFailing(cell) && !isFresh.has(cell))
        .map(cell => failure(cell, context)),
    },
    { title: 'flaky', entries: of('flaky').map(flaky) },
    {
      title: 'fixed',
      entries: (lastNight?.comparison.fixed ?? []).map(({ id }) => entry(id)),
    },
    ...(release
      ? [
          {
            title: `failing, and not in ${release.name}`,
            entries: release.comparison.newFailures.map(({ id }) => entry(id)),
          },
        ]
      : []),
    {
      title: 'not judged: the rig or a machine failed',
      entries: of('error').map(unjudged),
    },
    { title: 'not run', entries: grouped(of('not run')) },
    {
      title: 'what happened',
      entries: events.map(({ at, text }) => entry(`${clock(at)}  ${text}`)),
    },
    {
      title: 'kernels',
      entries: kernels.map(
        ({ name, state, release: version, origin, message }) =>
          entry(
            [
              `${name}${version === null ? '' : `, Linux ${version}`}`,
              ...(origin === null ? [] : [origin]),
              ...(state === 'failed' ? [`not built: ${message ?? ''}`] : []),
            ].join(', '),
          ),
      ),
    },
    { title: 'left out', entries: night.plan ? leftOut(night.plan) : [] },
  ]
  return parts.filter(({ entries }) => entries.length > 0)
}

const entry = (
  text: string,
  lines: readonly string[] = [],
): MorningPart['entries'][number] => ({ text, lines })

const failure = (
  cell: NightCell,
  { onsets, bisects }: MorningContext,
): MorningPart['entries'][number] => {
  const { id, class: is, rate, attempts, note } = cell
  const told = attempts.find(
    ({ verdict }) => verdict === 'fail' || verdict === 'invalid',
  )
  const onset = onsets.get(id)
  const bisect = bisects.get(id)
  return entry(id, [
    ...(told?.message ? [told.message] : []),
    is === 'unconfirmed'
      ? `failed in ${boots(rate)}, and was not repeated: ${note ?? 'the rig failed each time'}`
      : `failed in ${boots(rate)}, on ${machinesOf(cell)}`,
    ...(onset ? [onsetText(onset)] : []),
    ...(bisect === undefined ? [] : [`to find the change: ${bisect}`]),
  ])
}

const boots = ({ failed, boots: all }: NightCell['rate']): string =>
  failed === all
    ? all === 1
      ? 'the one boot'
      : `all ${all} boots`
    : `${failed} of ${all} boots`

const machinesOf = ({ attempts }: NightCell): string =>
  [...new Set(attempts.flatMap(({ machine }) => machine ?? []))].join(
    ' and ',
  ) || 'no machine'

const onsetText = ({ firstBad, lastGood }: Onset): string =>
  `first bad: ${kernelText(firstBad)}; ${lastGood ? `last good: ${kernelText(lastGood)}` : 'it never passed before'}`

const kernelText = ({ started, release, source }: SeenCase): string =>
  [
    ...(source === null ? [] : [source]),
    ...(release === null ? [] : [`Linux ${release}`]),
    `on ${started.slice(0, 10)}`,
  ].join(', ')

const flaky = (cell: NightCell): MorningPart['entries'][number] => {
  const { id, rate, attempts } = cell
  const failed = attempts.find(
    ({ verdict }) => verdict === 'fail' || verdict === 'invalid',
  )
  return entry(id, [
    `failed in ${boots(rate)} (${Math.round((100 * rate.failed) / rate.boots)} %), on ${machinesOf(cell)}`,
    ...(failed?.message ? [failed.message] : []),
  ])
}

const unjudged = (cell: NightCell): MorningPart['entries'][number] =>
  entry(cell.id, [
    cell.attempts.at(-1)?.message ?? cell.note ?? 'no reason is known',
    ...(cell.attempts.length > 0
      ? [`${cell.attempts.length} boots, on ${machinesOf(cell)}`]
      : []),
  ])

/** Many cells have one reason. */
const grouped = (cells: readonly NightCell[]): MorningPart['entries'] => {
  const reasons = new Map<string, string[]>()
  for (const { id, note } of cells) {
    const reason = note ?? 'it was not booted'
    reasons.set(reason, [...(reasons.get(reason) ?? []), id])
  }
  return [...reasons].map(([reason, ids]) =>
    entry(`${casesText(ids.length)}: ${reason}`, [
      ...ids.slice(0, LISTED),
      ...(ids.length > LISTED ? [`and ${ids.length - LISTED} more`] : []),
    ]),
  )
}

const leftOut = ({ reduction, otherNights }: Plan): MorningPart['entries'] => [
  ...(reduction ? [entry(reductionText(reduction))] : []),
  ...otherNights.map(text => entry(text)),
]

/** What was taken out, in a sentence. */
export const reductionText = ({
  cells,
  kept,
  neededMs,
  budgetMs,
  isTight,
}: NonNullable<Plan['reduction']>): string =>
  `all ${cells} cases need ${duration(neededMs)}, and the night has ${duration(budgetMs)}: ${kept} were chosen, so that each pair of scenario, matrix value, kernel and machine is booted; ${cells - kept} were left out${isTight ? '; even these need longer, and the end of the night cuts them off' : ''}`

export const duration = (ms: number): string => {
  const minutes = Math.round(ms / 60_000)
  if (minutes === 0) return `${Math.round(ms / 1000)} s`
  return minutes < 120
    ? `${minutes} min`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

const clock = (iso: string): string => iso.slice(11, 19)

/** `24 pass, 1 fail, 1 flaky`. */
export const classCounts = (
  counts: Readonly<Partial<Record<CellClass, number>>>,
): string =>
  CELL_CLASSES.flatMap(is => {
    const count = counts[is] ?? 0
    return count > 0 || is === 'pass' || is === 'fail' ? [`${count} ${is}`] : []
  }).join(', ')

export const morningHeadline = ({ night, cells }: NightResult): string =>
  `${night.name}: ${casesText(cells.length)}, ${classCounts(countClasses(cells))} in ${duration(night.elapsedMs)}`

/** The morning as text. */
export const morningText = (
  result: NightResult,
  context: MorningContext,
): string =>
  [
    morningHeadline(result),
    ...(context.lastNight ? [`compared with ${context.lastNight.name}`] : []),
    '',
    ...morningParts(result, context).flatMap(({ title, entries }) => [
      `${title}: ${entries.length}`,
      ...entries
        .slice(0, LISTED)
        .flatMap(({ text, lines }) => [
          `  ${visible(text)}`,
          ...lines.map(line => `    ${visible(line)}`),
        ]),
      ...(entries.length > LISTED
        ? [`  and ${entries.length - LISTED} more`]
        : []),
      '',
    ]),
    `report: ${context.report}`,
    '',
  ].join('\n')

/**
 * 0: all that was to be run has passed, or is flaky; 1: a kernel failed; 3:
 * none failed, and something could not be judged or run.
 */
export const nightExitCode = (cells: readonly NightCell[]): 0 | 1 | 3 => {
  if (cells.some(isFailing)) return 1
  return cells.some(({ class: is }) => is === 'error' || is === 'not run')
    ? 3
    : 0
}

export const casesText = (count: number): string =>
  `${count} ${count === 1 ? 'case' : 'cases'}`
