import { sql } from 'kysely'
import type { CellClass } from './decide.ts'
import { eventsOf } from './events.ts'
import { type Night, kernelsOf } from './nights.ts'
import type { NightDatabase } from './tables.ts'
import { workersOf } from './workers.ts'

/** How a night stands, as JSON. */
export interface NightStatus {
  readonly schema: 'tdxrig.night-status/1'
  readonly night: number
  readonly name: string
  readonly state: Night['state']
  readonly started: string
  readonly elapsedSeconds: number
  readonly budgetSeconds: number | null
  /** Seconds since whoever leads it was heard of; null: nobody does. */
  readonly leaderSilentSeconds: number | null
  readonly cells: number
  readonly open: number
  readonly classes: Readonly<Partial<Record<CellClass, number>>>
  /** Boots that are over, by verdict. */
  readonly boots: Readonly<Record<string, number>>
  readonly running: readonly {
    readonly id: string
    readonly worker: string
    readonly reason: string
    readonly seconds: number
  }[]
  readonly failing: readonly string[]
  readonly kernels: readonly {
    readonly name: string
    readonly state: string
    readonly message: string | null
  }[]
  readonly workers: readonly {
    readonly name: string
    readonly state: string
    readonly silentSeconds: number
    readonly unfit: string | null
  }[]
  readonly events: readonly { readonly at: string; readonly text: string }[]
}

/** Events and failures that are told. */
const TOLD = 20

export const statusOf = async (
  db: NightDatabase,
  night: Night,
): Promise<NightStatus> => {
  const classes = await sql<{ class: CellClass | null; count: number }>`
    select class, count(*)::int as count from night_cells
    where night_id = ${night.id} group by class`.execute(db)
  const boots = await sql<{ verdict: string; count: number }>`
    select verdict, count(*)::int as count from night_attempts
    where night_id = ${night.id} and state = 'done' group by verdict`.execute(
    db,
  )
  const running = await sql<{
    id: string
    worker: string
    reason: string
    seconds: number
  }>`
    select c.id, coalesce(a.worker, '') as worker, a.reason,
      extract(epoch from clock_timestamp() - a.started)::float as seconds
    from night_attempts a join night_cells c
      on c.night_id = a.night_id and c.cell = a.cell
    where a.night_id = ${night.id} and a.state = 'running'
    order by a.started`.execute(db)
  const failing = await sql<{ id: string }>`
    select id from night_cells where night_id = ${night.id}
      and class in ('fail', 'invalid', 'unconfirmed')
    order by cell limit ${TOLD}`.execute(db)
  const open = classes.rows.find(one => one.class === null)?.count ?? 0
  return {
    schema: 'tdxrig.night-status/1',
    night: night.id,
    name: night.name,
    state: night.state,
    started: night.started,
    elapsedSeconds: Math.round(night.elapsedMs / 1000),
    budgetSeconds: night.plan?.budgetMs ? night.plan.budgetMs / 1000 : null,
    leaderSilentSeconds:
      night.silent === undefined ? null : Math.round(night.silent),
    cells: classes.rows.reduce((sum, { count }) => sum + count, 0),
    open,
    classes: Object.fromEntries(
      classes.rows.flatMap(one =>
        one.class === null ? [] : [[one.class, one.count]],
      ),
    ),
    boots: Object.fromEntries(
      boots.rows.map(({ verdict, count }) => [verdict, count]),
    ),
    running: running.rows.map(one => ({
      ...one,
      seconds: Math.round(one.seconds),
    })),
    failing: failing.rows.map(({ id }) => id),
    kernels: (await kernelsOf(db, night.id)).map(
      ({ name, state, message }) => ({ name, state, message }),
    ),
    workers: (await workersOf(db))
      .filter(({ state }) => state !== 'gone')
      .map(({ name, state, silent, unfit }) => ({
        name,
        state,
        silentSeconds: Math.round(silent),
        unfit,
      })),
    events: (await eventsOf(db, night.id))
      .slice(-TOLD)
      .map(({ at, text }) => ({ at, text })),
  }
}
