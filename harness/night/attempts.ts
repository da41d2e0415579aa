import { sql } from 'kysely'
import type { Verdict } from '../judge/context.ts'
import type { Step } from './decide.ts'
import { type Job, addingJobs, removeJobs } from './queue.ts'
import { type PlaceName, hostOf } from './plan.ts'
import type { AttemptRow, NightDatabase } from './tables.ts'

/** Boots of cells: queued, begun, finished. Each is stored once. */

export interface AttemptKey {
  readonly night: number
  readonly cell: number
  readonly number: number
}

export const keyText = ({ night, cell, number }: AttemptKey): string =>
  `case-${night}-${cell}-${number}`

/** Told when there is something new for whoever leads a night. */
export const NEWS = 'tdxrig_night_news'

/** Every job has it: whoever takes none refuses it. */
export const JOB = 'job'

/** What needs room has it: a worker that is unfit refuses all of it. */
export const BOOTS = 'boots'

/** A worker refuses what must not be booted where it is. */
export const notOn = (machine: string): string => `not:${machine}`

/** The task of jobs for one machine alone. */
export const taskOn = (place: PlaceName, machine: string): string =>
  `${place}@${machine}`

/** A boot that is to be made. */
export interface Order extends AttemptKey {
  readonly place: PlaceName
  readonly step: Extract<Step, { kind: 'boot' }>
  readonly priority: number
}

const jobOf = ({ night, cell, number, place, step, priority }: Order): Job => ({
  // A host is a place of its own: who leads the night has chosen it.
  task:
    step.only === undefined || hostOf(place) !== undefined
      ? place
      : taskOn(place, step.only),
  payload: { night, cell, number },
  key: keyText({ night, cell, number }),
  priority,
  flags: [
    JOB,
    BOOTS,
    ...(step.not === undefined || hostOf(place) !== undefined
      ? []
      : [notOn(step.not)]),
  ],
  line: hostOf(place) === undefined ? null : place,
})

/** Queues boots; those that are there already stay as they are. */
export const queueAttempts = async (
  db: NightDatabase,
  orders: readonly Order[],
): Promise<void> => {
  if (orders.length === 0) return
  const rows = orders.map(order => ({
    night_id: order.night,
    cell: order.cell,
    number: order.number,
    reason: order.step.reason,
    place: order.place,
    only_machine: order.step.only ?? null,
    not_machine: order.step.not ?? null,
    job: jobOf(order),
  }))
  // One statement: either both are there or none, in one way to the server.
  await sql`
    with orders as (
      select * from json_to_recordset(${JSON.stringify(rows)}::json) as row(
        night_id int, cell int, number int, reason text, place text,
        only_machine text, not_machine text, job json)),
    queued as (
      insert into night_attempts (night_id, cell, number, reason, place,
        only_machine, not_machine, state)
      select night_id, cell, number, reason, place, only_machine, not_machine,
        'queued' from orders
      on conflict do nothing)
    ${addingJobs(sql`select job from orders`)}`.execute(db)
}

/** Takes boots back that nobody has begun. @returns those that were taken */
export const withdrawAttempts = (
  db: NightDatabase,
  keys: readonly AttemptKey[],
): Promise<AttemptKey[]> =>
  db.transaction().execute(async trx => {
    const gone: AttemptKey[] = []
    for (const key of keys) {
      const row = await trx
        .deleteFrom('night_attempts')
        .where('night_id', '=', key.night)
        .where('cell', '=', key.cell)
        .where('number', '=', key.number)
        .where('state', '=', 'queued')
        .returning('cell')
        .executeTakeFirst()
      if (row) gone.push(key)
    }
    await removeJobs(trx, gone.map(keyText))
    return gone
  })

/** A boot that a worker has begun, with all it needs. */
export interface Begun {
  readonly lost: number
  readonly place: string
  readonly id: string
  readonly scenario: string
  readonly input: string
  readonly kernel: string
  readonly recipe: string
  readonly key: string | null
  readonly origin: string | null
}

/** @returns undefined when it is done already, or was taken back */
export const beginAttempt = async (
  db: NightDatabase,
  { night, cell, number }: AttemptKey,
  worker: string,
): Promise<Begun | undefined> => {
  const { rows } = await sql<Begun>`
    update night_attempts a
    set state = 'running', worker = ${worker}, started = clock_timestamp()
    from night_cells c join night_kernels k
      on k.night_id = c.night_id and k.name = c.kernel
    where a.night_id = ${night} and a.cell = ${cell} and a.number = ${number}
      and a.state <> 'done' and c.night_id = a.night_id and c.cell = a.cell
    returning a.lost, a.place, c.id, c.scenario, c.input, c.kernel, k.recipe,
      k.key, k.origin`.execute(db)
  return rows[0]
}

/** What came of a boot. */
export interface Finished {
  readonly verdict: Verdict
  readonly machine: string
  readonly totalMs: number
  readonly message: string | null
  readonly body: Uint8Array | null
  readonly console: Uint8Array | null
}

/**
 * Stores what came of a boot, once: a second result of the same boot is thrown
 * away.
 *
 * @returns whether it was stored
 */
export const finishAttempt = async (
  db: NightDatabase,
  { night, cell, number }: AttemptKey,
  { verdict, machine, totalMs, message, body, console }: Finished,
): Promise<boolean> => {
  const { rows } = await sql`
    with stored as (
      update night_attempts
      set state = 'done', ended = clock_timestamp(), verdict = ${verdict},
        machine = ${machine}, total_ms = ${totalMs}, message = ${message},
        body = ${body}, console = ${console}
      where night_id = ${night} and cell = ${cell} and number = ${number}
        and state <> 'done'
      returning cell)
    select cell, pg_notify(${NEWS}, '') from stored`.execute(db)
  return rows.length > 0
}

/** A boot, without what came of it. */
export type AttemptState = Pick<
  AttemptRow,
  | 'cell'
  | 'number'
  | 'reason'
  | 'place'
  | 'only_machine'
  | 'not_machine'
  | 'state'
  | 'lost'
  | 'worker'
  | 'started'
  | 'verdict'
  | 'machine'
  | 'total_ms'
  | 'message'
>

const STATE = [
  'cell',
  'number',
  'reason',
  'place',
  'only_machine',
  'not_machine',
  'state',
  'lost',
  'worker',
  'started',
  'verdict',
  'machine',
  'total_ms',
  'message',
] as const

const statesOf = (db: NightDatabase, night: number) =>
  db.selectFrom('night_attempts').select(STATE).where('night_id', '=', night)

/** All boots of a night, in their order. */
export const attemptsOf = (
  db: NightDatabase,
  night: number,
): Promise<AttemptState[]> =>
  statesOf(db, night).orderBy('cell').orderBy('number').execute()

/** Boots that are queued or under way. */
export const openAttempts = (
  db: NightDatabase,
  night: number,
): Promise<AttemptState[]> =>
  statesOf(db, night).where('state', '<>', 'done').execute()

/** Some boots. */
export const attemptsAt = async (
  db: NightDatabase,
  night: number,
  keys: readonly Pick<AttemptKey, 'cell' | 'number'>[],
): Promise<AttemptState[]> => {
  if (keys.length === 0) return []
  const { rows } = await sql<AttemptState>`
    select ${sql.join(STATE.map(name => sql.ref(`a.${name}`)))}
    from night_attempts a join unnest(
      ${keys.map(({ cell }) => cell)}::int[],
      ${keys.map(({ number }) => number)}::int[]) as wanted(cell, number)
      on a.cell = wanted.cell and a.number = wanted.number
    where a.night_id = ${night}`.execute(db)
  return rows
}
