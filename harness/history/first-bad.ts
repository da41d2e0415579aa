import { sql } from 'kysely'
import type * as z from 'zod'
import type { Verdict } from '../judge/context.ts'
import { documentSchema } from '../report/schema.ts'
import type { HistoryDatabase } from './database.ts'

/** A case in a kept run, with the kernel it was booted on. */
export interface SeenCase {
  readonly run: number
  readonly started: string
  readonly verdict: Verdict
  readonly release: string | null
  readonly source: string | null
}

/** Since when a case fails. */
export interface Onset {
  /** The first run of those that fail without a pass between. */
  readonly firstBad: SeenCase
  /** The last run in which it passed; null: there is none. */
  readonly lastGood: SeenCase | null
}

const kernelsSchema = documentSchema.shape.kernels

/** Runs that are looked at. */
const WINDOW = 400

/**
 * Since when cases fail that fail in the newest run of a label.
 *
 * @param cases id and kernel
 */
export const onsetsOf = async (
  db: HistoryDatabase,
  label: string,
  cases: readonly { readonly id: string; readonly kernel: string }[],
): Promise<Map<string, Onset>> => {
  const { rows } = await sql<{
    name: string
    verdict: Verdict
    run: number
    started: Date
    kernels: string
  }>`
    with chosen as (
      select id, started, kernels from runs where label = ${label}
      order by started desc, id desc limit ${WINDOW})
    select cases.name, results.verdict, chosen.id as run, chosen.started,
      chosen.kernels
    from chosen join results on results.run_id = chosen.id
      join cases on cases.id = results.case_id
    where cases.name = any(${cases.map(({ id }) => id)}::text[])
      and results.verdict in ('pass', 'fail', 'invalid')
    order by cases.name, chosen.started desc, chosen.id desc`.execute(db)
  const kernelOf = new Map(cases.map(({ id, kernel }) => [id, kernel]))
  // A run has thousands of cases, and each row its kernels.
  const parsed = new Map<number, z.output<typeof kernelsSchema>>()
  const kernelsIn = (run: number, text: string) => {
    const known = parsed.get(run) ?? kernelsSchema.parse(JSON.parse(text))
    parsed.set(run, known)
    return known
  }
  const onsets = new Map<string, Onset>()
  const closed = new Set<string>()
  for (const { name, verdict, run, started, kernels } of rows) {
    if (closed.has(name)) continue
    const kernel = kernelsIn(run, kernels).find(
      one => one.name === kernelOf.get(name),
    )
    const seen: SeenCase = {
      run,
      started: started.toISOString(),
      verdict,
      release: kernel?.release ?? null,
      source: kernel?.source ?? null,
    }
    const before = onsets.get(name)
    if (verdict !== 'pass') onsets.set(name, { firstBad: seen, lastGood: null })
    else {
      closed.add(name)
      if (before) onsets.set(name, { ...before, lastGood: seen })
    }
  }
  return onsets
}

/** Milliseconds that cases took in the newest runs of a label, by id. */
export const usualTimes = async (
  db: HistoryDatabase,
  label: string,
): Promise<Map<string, number>> => {
  const { rows } = await sql<{ name: string; ms: number }>`
    with chosen as (
      select id from runs where label = ${label}
      order by started desc, id desc limit 5)
    select cases.name, avg(results.total_ms)::float as ms
    from results join cases on cases.id = results.case_id
    where results.run_id in (select id from chosen) and results.total_ms > 0
    group by cases.name`.execute(db)
  return new Map(rows.map(({ name, ms }) => [name, ms]))
}
