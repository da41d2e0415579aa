import { sql } from 'kysely'
import { median } from '../base/median.ts'
import type { Verdict } from '../judge/context.ts'
import type { HistoryDatabase } from './database.ts'

/** What many runs say together. */

/** Of which runs: those of one label have the same thing in view. */
export interface Window {
  /** Default: that of the newest run. */
  readonly label?: string | undefined
  /** The newest of them. */
  readonly runs: number
}

/** How a case behaved over the runs of a window. */
export interface Flakiness {
  readonly id: string
  /** Boots that were judged, and how many of those did not pass. */
  readonly boots: number
  readonly failed: number
  /** Changes between passing and not, from run to run. */
  readonly flips: number
  /** Runs whose own attempts did not agree. */
  readonly mixed: number
}

/**
 * Cases that did not always end in the same way: a run whose attempts differ,
 * or more than one change from run to run. One change is a regression or a
 * fix, and no flake.
 */
export const flakyCases = async (
  db: HistoryDatabase,
  window: Window,
): Promise<Flakiness[]> => {
  const { rows } = await sql<Flakiness>`
    with chosen as (${chosenRuns(window)}),
    -- Most cases always pass: only the others are put in order.
    uneven as (
      select case_id from results
      where run_id in (select id from chosen)
        and verdict in ('pass', 'fail', 'invalid')
      group by case_id
      having min(verdict) <> max(verdict) or sum(passed) not in (0, sum(attempts))
    ),
    judged as (
      select results.case_id, results.verdict, results.attempts, results.passed,
        lag(results.verdict) over (
          partition by results.case_id order by chosen.started, chosen.id
        ) as before
      from results join chosen on chosen.id = results.run_id
      where results.verdict in ('pass', 'fail', 'invalid')
        and results.case_id in (select case_id from uneven)
    )
    select cases.name as id,
      sum(attempts)::int as boots,
      sum(attempts - passed)::int as failed,
      (count(*) filter (
        where before is not null and (before = 'pass') <> (verdict = 'pass')
      ))::int as flips,
      (count(*) filter (where passed > 0 and passed < attempts))::int as mixed
    from judged join cases on cases.id = judged.case_id
    group by cases.name
    having count(*) filter (where passed > 0 and passed < attempts) > 0
      or count(*) filter (
        where before is not null and (before = 'pass') <> (verdict = 'pass')
      ) > 1
    order by sum(attempts - passed)::float / greatest(1, sum(attempts)) desc, cases.name`.execute(
    db,
  )
  return rows
}

const chosenRuns = ({ label, runs }: Window) =>
  sql`select id, started from runs
    where label = coalesce(${label ?? null}::text,
      (select label from runs order by started desc, id desc limit 1))
    order by started desc, id desc limit ${runs}`

/** A case in one run. */
export interface TrendPoint {
  readonly run: number
  readonly started: string
  readonly verdict: Verdict
  readonly totalMs: number
  readonly tdmrs: number
  readonly tdmrsMax: number
  readonly areas: number | null
  readonly areasMax: number | null
  readonly pamtKiB: number
}

/** A case over the runs of a window, oldest first. */
export interface Trend {
  readonly id: string
  readonly points: readonly TrendPoint[]
}

interface TrendRow extends Omit<TrendPoint, 'started'> {
  readonly id: string
  readonly started: Date
}

/** @param filter text in the case's id; undefined: all */
export const trends = async (
  db: HistoryDatabase,
  { filter, ...window }: Window & { readonly filter?: string | undefined },
): Promise<Trend[]> => {
  const { rows } = await sql<TrendRow>`
    with chosen as (${chosenRuns(window)})
    select cases.name as id, chosen.id as run, chosen.started, results.verdict,
      results.total_ms as "totalMs", results.tdmrs,
      results.tdmrs_max as "tdmrsMax", results.areas,
      results.areas_max as "areasMax", results.pamt_kib as "pamtKiB"
    from chosen
      join results on results.run_id = chosen.id
      join cases on cases.id = results.case_id
    where ${filter === undefined} or position(${filter ?? ''} in cases.name) > 0
    order by cases.name, chosen.started, chosen.id`.execute(db)
  const found = new Map<string, TrendPoint[]>()
  for (const { id, started, ...point } of rows) {
    const points = found.get(id) ?? []
    points.push({ ...point, started: started.toISOString() })
    found.set(id, points)
  }
  return [...found].map(([id, points]) => ({ id, points }))
}

/** The run that came last, of all in the trends. */
export const newestRun = (found: readonly Trend[]): number | undefined =>
  found
    .flatMap(({ points }) => points.slice(-1))
    .sort((a, b) => a.started.localeCompare(b.started) || a.run - b.run)
    .at(-1)?.run

/** What somebody should look at. */
export interface Alarm {
  readonly id: string
  readonly kind: 'time' | 'headroom'
  readonly message: string
}

/** Fewer runs say nothing about what is usual. */
const LEAST_RUNS = 5
/** A time is unusual beyond both: others make boots slow as well. */
const SLOWER = 1.5
const DEVIATIONS = 5

/**
 * The rule: the newest boot took half as long again as the median of those
 * before it and is five deviations (median) away from it; or a layout is
 * closer to a limit of the TDX module than it was in any run before. A case
 * that the newest run does not have raises none.
 *
 * @param newest the number of that run
 */
export const alarmsOf = (
  { id, points }: Trend,
  newest: number | undefined,
): Alarm[] => {
  const last = points.at(-1)
  const before = points.slice(0, -1)
  if (last?.run !== newest || !last || before.length < LEAST_RUNS) return []
  return [
    ...timeAlarm(id, before, last),
    ...closer(id, {
      what: 'TDMRs',
      used: ({ tdmrs }) => tdmrs,
      max: last.tdmrsMax,
      before,
      last,
    }),
    ...(last.areasMax === null
      ? []
      : closer(id, {
          what: 'reserved areas',
          used: ({ areas }) => areas ?? 0,
          max: last.areasMax,
          before,
          last,
        })),
  ]
}

const timeAlarm = (
  id: string,
  before: readonly TrendPoint[],
  last: TrendPoint,
): Alarm[] => {
  const times = before
    .map(({ totalMs }) => totalMs)
    .filter(totalMs => totalMs > 0)
  if (times.length < LEAST_RUNS || last.totalMs === 0) return []
  const usual = median(times)
  const deviation = median(times.map(time => Math.abs(time - usual)))
  const unusual =
    last.totalMs > usual * SLOWER &&
    last.totalMs > usual + DEVIATIONS * deviation
  return unusual
    ? [
        {
          id,
          kind: 'time',
          message: `${seconds(last.totalMs)}, usual are ${seconds(usual)} (median of ${times.length} runs)`,
        },
      ]
    : []
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

const closer = (
  id: string,
  {
    what,
    used,
    max,
    before,
    last,
  }: {
    readonly what: string
    readonly used: (point: TrendPoint) => number
    readonly max: number
    readonly before: readonly TrendPoint[]
    readonly last: TrendPoint
  },
): Alarm[] => {
  const most = Math.max(...before.map(used))
  return used(last) > most
    ? [
        {
          id,
          kind: 'headroom',
          message: `${used(last)} of ${max} ${what}, at most ${most} before`,
        },
      ]
    : []
}
