import { formatSize } from '../base/units.ts'
import {
  type Difference,
  type DifferenceWords,
  differenceText,
  differencesOf,
} from './picture/picture.ts'
import { builtRegions } from './picture/drawn.ts'
import { regionMarks } from './picture/rows.ts'
import { outcomeText } from './prediction-text.ts'
import type { ComparedCase, ComparedDocument } from './schema.ts'

/** What is different between two runs, case by case. */

/** A case that is in both runs. */
export interface ChangedCase {
  readonly id: string
  readonly old: ComparedCase
  readonly now: ComparedCase
}

/** A case whose kernel built other regions. */
export interface ChangedRegions extends ChangedCase {
  /** Where they differ; empty ranges are borders. */
  readonly ranges: readonly Difference[]
}

/** A figure that is closer to its limit, or farther from it. */
export interface ChangedHeadroom extends ChangedCase {
  readonly figures: readonly {
    readonly name: string
    readonly old: string
    readonly now: string
  }[]
}

export interface Comparison {
  /** Failing now, and not before: also of cases that are new. */
  readonly newFailures: readonly ComparedCase[]
  readonly fixed: readonly ChangedCase[]
  readonly stillFailing: readonly ChangedCase[]
  /** The rig failed, or the case was skipped: nothing is known now. */
  readonly unjudged: readonly ChangedCase[]
  /** TDX ended in another way, whatever the verdict. */
  readonly outcomes: readonly ChangedCase[]
  readonly regions: readonly ChangedRegions[]
  readonly headroom: readonly ChangedHeadroom[]
  readonly added: readonly ComparedCase[]
  readonly gone: readonly ComparedCase[]
}

/** The kernel failed, or it is not known whether it did what was asked. */
export const isFailing = ({
  verdict,
}: Pick<ComparedCase, 'verdict'>): boolean =>
  verdict === 'fail' || verdict === 'invalid'

const isUnjudged = ({ verdict }: ComparedCase): boolean =>
  verdict === 'error' || verdict === 'skip'

export const compareRuns = (
  old: Pick<ComparedDocument, 'cases'>,
  now: Pick<ComparedDocument, 'cases'>,
): Comparison => {
  const before = new Map(old.cases.map(result => [result.id, result]))
  const after = new Set(now.cases.map(({ id }) => id))
  const both = now.cases.flatMap((result): ChangedCase[] => {
    const was = before.get(result.id)
    return was ? [{ id: result.id, old: was, now: result }] : []
  })
  const judged = both.filter(
    ({ old, now }) => !isUnjudged(old) && !isUnjudged(now),
  )
  return {
    newFailures: now.cases.filter(result => {
      const was = before.get(result.id)
      return isFailing(result) && !(was && isFailing(was))
    }),
    fixed: both.filter(
      ({ old, now }) => isFailing(old) && now.verdict === 'pass',
    ),
    stillFailing: both.filter(
      ({ old, now }) => isFailing(old) && isFailing(now),
    ),
    unjudged: both.filter(
      ({ old, now }) => !isUnjudged(old) && isUnjudged(now),
    ),
    outcomes: judged.filter(({ old, now }) => endingOf(old) !== endingOf(now)),
    regions: judged.flatMap(pair => {
      const ranges = changedRanges(pair)
      return ranges.length > 0 ? [{ ...pair, ranges }] : []
    }),
    headroom: judged.flatMap(pair => {
      const figures = changedFigures(pair)
      return figures.length > 0 ? [{ ...pair, figures }] : []
    }),
    added: now.cases.filter(({ id }) => !before.has(id)),
    gone: old.cases.filter(({ id }) => !after.has(id)),
  }
}

/** How TDX ended, in words. */
export const endingOf = ({ tdx }: ComparedCase): string =>
  tdx ? outcomeText(tdx.outcome, tdx.stage, tdx.errno) : 'not booted'

const SINCE: DifferenceWords = {
  extra: 'new',
  missing: 'gone',
  other: 'changed',
}

/** Nothing is known of a kernel whose regions nobody saw. */
const changedRanges = ({ old, now }: ChangedCase): Difference[] => {
  const before = builtRegions(old)
  const after = builtRegions(now)
  return before && after
    ? differencesOf(regionMarks(before), regionMarks(after))
    : []
}

/** A figure of {@link headroomFigures}. */
interface Figure {
  readonly name: string
  readonly text: string
}

/**
 * How close a case is to what the TDX module takes.
 *
 * @param by what the module was given, where it was seen; or the model
 */
export const headroomFigures = (
  { layout, tdmrs }: Pick<ComparedCase, 'layout' | 'tdmrs'>,
  by: 'built' | 'model' = tdmrs ? 'built' : 'model',
): Figure[] => {
  const { headroom } = layout
  const { reservedAreas } = headroom
  const seen = by === 'built' ? tdmrs : null
  const areas = seen
    ? Math.max(0, ...seen.map(({ reserved }) => reserved.length))
    : reservedAreas?.atMost
  return [
    {
      name: 'TDMRs',
      text: `${seen?.length ?? headroom.tdmrs.used} of ${headroom.tdmrs.max}`,
    },
    ...(reservedAreas && areas !== undefined
      ? [{ name: 'reserved areas', text: `${areas} of ${reservedAreas.max}` }]
      : []),
    { name: 'PAMT', text: formatSize(layout.pamtKiB * 1024) },
  ]
}

const changedFigures = ({
  old,
  now,
}: ChangedCase): ChangedHeadroom['figures'] => {
  // What was seen is compared with what was seen, or the model with itself.
  const by = old.tdmrs && now.tdmrs ? 'built' : 'model'
  const before = new Map(
    headroomFigures(old, by).map(({ name, text }) => [name, text]),
  )
  return headroomFigures(now, by).flatMap(({ name, text }) => {
    const was = before.get(name)
    return was === undefined || was === text
      ? []
      : [{ name, old: was, now: text }]
  })
}

/** A kind of change, with the cases it is told of. */
export interface ChangePart {
  readonly title: string
  /** They are told whole, and first. */
  readonly isAlarm: boolean
  readonly entries: readonly {
    readonly id: string
    /** What is different; none: its title says it. */
    readonly lines: readonly string[]
  }[]
}

/** A comparison for people: new failures first, nothing that is the same. */
export const changeParts = (comparison: Comparison): ChangePart[] => {
  const ids = (
    list: readonly { readonly id: string }[],
  ): ChangePart['entries'] => list.map(({ id }) => ({ id, lines: [] }))
  const parts: readonly (readonly [string, ChangePart['entries']])[] = [
    [
      NEW_FAILURES,
      comparison.newFailures.map(({ id, reasons, reproduce }) => ({
        id,
        lines: [
          ...reasons.map(({ message }) => message),
          `again: ${reproduce}`,
        ],
      })),
    ],
    ['fixed', ids(comparison.fixed)],
    ['still failing', ids(comparison.stillFailing)],
    [
      'not judged any more',
      comparison.unjudged.map(({ id, now }) => ({
        id,
        lines: [`${now.verdict}: ${now.reasons[0]?.message ?? ''}`],
      })),
    ],
    [
      'TDX ends in another way',
      comparison.outcomes.map(({ id, old, now }) => ({
        id,
        lines: [`${endingOf(old)}, now ${endingOf(now)}`],
      })),
    ],
    [
      'other regions',
      comparison.regions.map(({ id, ranges }) => ({
        id,
        lines: ranges.map(one => differenceText(one, SINCE)),
      })),
    ],
    [
      'other headroom',
      comparison.headroom.map(({ id, figures }) => ({
        id,
        lines: figures.map(
          ({ name, old, now }) => `${name}: ${old}, now ${now}`,
        ),
      })),
    ],
    ['new cases', ids(comparison.added)],
    ['gone cases', ids(comparison.gone)],
  ]
  return parts
    .filter(([, entries]) => entries.length > 0)
    .map(([title, entries]) => ({
      title,
      isAlarm: title === NEW_FAILURES,
      entries,
    }))
}

const NEW_FAILURES = 'new failures'
