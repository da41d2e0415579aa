import { sql } from 'kysely'
import { UsageError } from '../base/errors.ts'
import type { CellClass } from './decide.ts'
import type { Plan, PlannedCell, PlannedKernel } from './plan.ts'
import { recipeText } from './recipe-json.ts'
import type { CellRow, NightDatabase, NightState } from './tables.ts'

/** Nights, as the database knows them. */

/** Rows of one statement: PostgreSQL takes 65,535 parameters. */
const ROWS = 1_000

/** A night, without its cells. */
export interface Night {
  readonly id: number
  readonly name: string
  readonly label: string
  readonly state: NightState
  /** Undefined: it was not planned to its end. */
  readonly plan: Plan | undefined
  readonly started: string
  readonly ended: string | null
  /** Milliseconds since it began, by the clock of the database. */
  readonly elapsedMs: number
  /** Seconds since whoever leads it was heard of; undefined: nobody does. */
  readonly silent: number | undefined
  /** Nights of this name that were begun before it. */
  readonly turn: number
  /** What was planned, as it was written; undefined: nobody knows. */
  readonly source: string | undefined
  /** Where its reports go, on the machine that leads; undefined: see there. */
  readonly folder: string | undefined
}

export interface NewNight {
  readonly name: string
  readonly label: string
  readonly source?: string
  readonly folder?: string
}

export const createNight = async (
  db: NightDatabase,
  { name, label, source, folder }: NewNight,
): Promise<number> => {
  const { id } = await db
    .insertInto('nights')
    .values({
      name,
      label,
      plan: '',
      state: 'running',
      source: source ?? null,
      folder: folder ?? null,
      // One that was never planned is none.
      turn: sql<number>`(select coalesce(max(turn) + 1, 0) from nights
        where name = ${name} and plan <> '')`,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return id
}

/** Keeps what a night does; a plan that was begun before is forgotten. */
export const keepPlan = (
  db: NightDatabase,
  night: number,
  {
    plan,
    kernels,
    cells,
  }: {
    readonly plan: Plan
    readonly kernels: readonly PlannedKernel[]
    readonly cells: readonly PlannedCell[]
  },
): Promise<void> =>
  db.transaction().execute(async trx => {
    await trx
      .deleteFrom('night_kernels')
      .where('night_id', '=', night)
      .execute()
    await trx.deleteFrom('night_cells').where('night_id', '=', night).execute()
    await trx
      .insertInto('night_kernels')
      .values(
        kernels.map(({ name, recipe, origin }) => ({
          night_id: night,
          name,
          recipe: recipeText(recipe),
          origin: origin?.text ?? null,
          state: 'wanted' as const,
        })),
      )
      .execute()
    for (let at = 0; at < cells.length; at += ROWS)
      await trx
        .insertInto('night_cells')
        .values(
          cells.slice(at, at + ROWS).map((cell, i) => ({
            night_id: night,
            cell: at + i,
            id: cell.id,
            kernel: cell.kernel,
            target: cell.target,
            scenario: cell.scenario,
            input: JSON.stringify(cell.input),
            places: JSON.stringify(cell.places),
            estimate_ms: cell.estimateMs,
            repeat: cell.repeat,
            class: classAtFirst(cell),
            note: cell.note,
          })),
        )
        .execute()
    await trx
      .updateTable('nights')
      .set({ plan: JSON.stringify(plan) })
      .where('id', '=', night)
      .execute()
  })

/** Null: it is open. */
const classAtFirst = ({ places, isOffered }: PlannedCell): CellClass | null => {
  if (!isOffered) return 'not run'
  return places.length > 0 ? null : 'skip'
}

/** @throws UsageError when there is no such night */
export const nightAt = async (
  db: NightDatabase,
  id: number,
): Promise<Night> => {
  const [night] = await nights(db, sql`id = ${id}`, 1)
  if (night) return night
  throw new UsageError('NO_NIGHT', `there is no night ${id} in the database`)
}

/** The newest first. @param name of these alone */
export const listNights = (
  db: NightDatabase,
  {
    name,
    limit,
  }: { readonly name?: string | undefined; readonly limit: number },
): Promise<Night[]> =>
  nights(db, name === undefined ? sql`true` : sql`name = ${name}`, limit)

const nights = async (
  db: NightDatabase,
  where: ReturnType<typeof sql>,
  limit: number,
): Promise<Night[]> => {
  const { rows } = await sql<{
    id: number
    name: string
    label: string
    plan: string
    state: NightState
    started: Date
    ended: Date | null
    elapsed: number
    silent: number | null
    turn: number
    source: string | null
    folder: string | null
  }>`select id, name, label, plan, state, started, ended, turn, source, folder,
      extract(epoch from coalesce(ended, clock_timestamp()) - started)::float as elapsed,
      case when leader is null then null
        else extract(epoch from clock_timestamp() - seen)::float end as silent
    from nights where ${where} order by id desc limit ${limit}`.execute(db)
  return rows.map(row => ({
    id: row.id,
    name: row.name,
    label: row.label,
    state: row.state,
    plan: row.plan === '' ? undefined : (JSON.parse(row.plan) as Plan),
    started: row.started.toISOString(),
    ended: row.ended?.toISOString() ?? null,
    elapsedMs: row.elapsed * 1000,
    silent: row.silent ?? undefined,
    turn: row.turn,
    source: row.source ?? undefined,
    folder: row.folder ?? undefined,
  }))
}

/**
 * One at a time chooses the night of a name that it leads: two that are
 * started at once do not begin two.
 */
export const choosingNight = <T>(
  db: NightDatabase,
  name: string,
  action: (trx: NightDatabase) => Promise<T>,
): Promise<T> =>
  db.transaction().execute(async trx => {
    await sql`select pg_advisory_xact_lock(hashtext(${`tdxrig night ${name}`}))`.execute(
      trx,
    )
    return action(trx)
  })

/** From now on it is led by whoever has this token. */
export const takeNight = async (
  db: NightDatabase,
  id: number,
  { leader, folder }: { readonly leader: string; readonly folder: string },
): Promise<void> => {
  await db
    .updateTable('nights')
    .set({ leader, folder, seen: sql<Date>`clock_timestamp()` })
    .where('id', '=', id)
    .execute()
}

/**
 * A sign of life of who leads it.
 *
 * @returns the clock, in milliseconds; undefined: somebody else leads it now
 */
export const leadNight = async (
  db: NightDatabase,
  id: number,
  leader: string,
): Promise<number | undefined> => {
  const { rows } = await sql<{ clock: string }>`
    update nights set seen = clock_timestamp()
    where id = ${id} and leader = ${leader}
    returning (extract(epoch from clock_timestamp()) * 1000)::text as clock`.execute(
    db,
  )
  return rows[0] && Number(rows[0].clock)
}

/** Whoever has this token leads it no more: another one need not wait. */
export const leaveNight = async (
  db: NightDatabase,
  id: number,
  leader: string,
): Promise<void> => {
  await db
    .updateTable('nights')
    .set({ leader: null })
    .where('id', '=', id)
    .where('leader', '=', leader)
    .execute()
}

/** Nothing more is booted. Who goes on with it only tells it again. */
export const closeNight = async (
  db: NightDatabase,
  id: number,
): Promise<void> => {
  await db
    .updateTable('nights')
    .set({ ended: sql<Date>`coalesce(ended, clock_timestamp())` })
    .where('id', '=', id)
    .execute()
}

/**
 * Gives a night up: what was not begun is not begun any more.
 *
 * @returns boots that are under way, and end by themselves
 */
export const stopNight = (db: NightDatabase, id: number): Promise<number> =>
  db.transaction().execute(async trx => {
    await trx
      .deleteFrom('night_attempts')
      .where('night_id', '=', id)
      .where('state', '=', 'queued')
      .execute()
    await endNight(trx, id, 'stopped')
    const { count } = await trx
      .selectFrom('night_attempts')
      .select(sql<number>`count(*)::int`.as('count'))
      .where('night_id', '=', id)
      .where('state', '=', 'running')
      .executeTakeFirstOrThrow()
    return count
  })

/** It is over, and told. */
export const endNight = async (
  db: NightDatabase,
  id: number,
  state: Exclude<NightState, 'running'>,
): Promise<void> => {
  await closeNight(db, id)
  await db.updateTable('nights').set({ state }).where('id', '=', id).execute()
}

export const cellsOf = (db: NightDatabase, night: number): Promise<CellRow[]> =>
  db
    .selectFrom('night_cells')
    .selectAll()
    .where('night_id', '=', night)
    .orderBy('cell')
    .execute()

/** What became of cells. */
export const classifyCells = async (
  db: NightDatabase,
  night: number,
  classes: ReadonlyMap<
    number,
    { readonly class: CellClass; readonly note: string | null }
  >,
): Promise<void> => {
  if (classes.size === 0) return
  const rows = [...classes]
  await sql`update night_cells c set class = w.class, note = coalesce(w.note, c.note)
    from unnest(${rows.map(([cell]) => cell)}::int[],
      ${rows.map(([, one]) => one.class)}::text[],
      ${rows.map(([, one]) => one.note)}::text[]) as w(cell, class, note)
    where c.night_id = ${night} and c.cell = w.cell`.execute(db)
}

export interface KernelState {
  readonly name: string
  readonly state: 'wanted' | 'building' | 'built' | 'failed'
  readonly key: string | null
  readonly release: string | null
  readonly origin: string | null
  readonly message: string | null
}

export const kernelsOf = (
  db: NightDatabase,
  night: number,
): Promise<KernelState[]> =>
  db
    .selectFrom('night_kernels')
    .select(['name', 'state', 'key', 'release', 'origin', 'message'])
    .where('night_id', '=', night)
    .orderBy('name')
    .execute()

/** Throws nights away that are over. @returns how many */
export const pruneNights = async (
  db: NightDatabase,
  {
    name,
    keep,
    days,
  }: {
    readonly name?: string | undefined
    readonly keep: number | null
    readonly days: number | null
  },
): Promise<number> => {
  if (keep === null && days === null) return 0
  const { rows } = await sql`
    delete from nights where id in (
      select id from (
        select id, name, started, state,
          row_number() over (partition by name order by id desc) as place
        from nights
      ) ranked
      where state <> 'running' and (${name ?? null}::text is null or name = ${name ?? null})
        and (${keep === null} or place > ${keep ?? 0})
        and (${days === null} or started < now() - make_interval(days => ${days ?? 0}))
    ) returning id`.execute(db)
  return rows.length
}
