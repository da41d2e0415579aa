import { sql } from 'kysely'
import * as z from 'zod'
import { UsageError, systemCode } from '../base/errors.ts'
import { tell } from './events.ts'
import { unlockJobs } from './queue.ts'
import type { NightDatabase } from './tables.ts'

/** Workers, as the database knows them: by its clock, and no other. */

const offerSchema = z.strictObject({
  /** The machine it is on. */
  machine: z.string(),
  /** Guests under QEMU; null: it boots none. */
  qemu: z
    .strictObject({ jobs: z.int(), kvm: z.boolean(), board: z.string() })
    .nullable(),
  /** Hosts it can reach. */
  hosts: z.array(
    z.strictObject({ name: z.string(), labels: z.array(z.string()) }),
  ),
  builds: z.boolean(),
  version: z.string(),
})
/** What a worker can do. */
export type Offer = z.output<typeof offerSchema>

export interface Worker {
  readonly name: string
  readonly state: 'up' | 'draining' | 'lost' | 'gone'
  readonly offer: Offer
  /** Why it takes no cases; null: it does. */
  readonly unfit: string | null
  readonly process: string
  /** Seconds since it was heard of. */
  readonly silent: number
}

/** Seconds between two signs of life. */
export const BEAT_SECONDS = 2
/** Seconds without one after which a worker is lost. */
export const LOST_SECONDS = 8

export interface Registration {
  readonly name: string
  readonly pools: readonly string[]
  readonly offer: Offer
  readonly process: string
}

/**
 * A worker begins. What one of the same name has left is free at once.
 *
 * @throws UsageError when that one is at work
 */
export const register = (
  db: NightDatabase,
  { name, pools, offer, process }: Registration,
): Promise<void> =>
  db.transaction().execute(async trx => {
    const before = await trx
      .selectFrom('night_workers')
      .select([
        'state',
        'pools',
        'process',
        sql<number>`extract(epoch from clock_timestamp() - seen)::float`.as(
          'silent',
        ),
      ])
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirst()
    if (before && before.process !== process && isAtWork(before, process))
      throw new UsageError(
        'WORKER_NAME',
        `a worker '${name}' is at work already (${before.process}, heard of ${Math.round(before.silent)} s ago): give this one another name (--name), or end that one`,
      )
    if (before)
      await release(trx, {
        name,
        pools: poolsOf(before.pools),
        what: before.state === 'gone' ? 'has gone' : 'was started again',
        isLoss: before.state !== 'gone',
      })
    const row = {
      state: 'up' as const,
      pools: JSON.stringify(pools),
      offer: JSON.stringify(offer),
      process,
      unfit: null,
    }
    await trx
      .insertInto('night_workers')
      .values({ name, ...row })
      .onConflict(conflict =>
        conflict.column('name').doUpdateSet({
          ...row,
          started: sql<Date>`now()`,
          seen: sql<Date>`now()`,
        }),
      )
      .execute()
  })

/** One that is gone from this machine need not be waited for. */
const isAtWork = (
  { state, silent, process }: Pick<Worker, 'state' | 'silent' | 'process'>,
  own: string,
): boolean => {
  if ((state !== 'up' && state !== 'draining') || silent > LOST_SECONDS)
    return false
  const [machine, pid] = process.split(', process ')
  return own.split(', process ')[0] !== machine || isAlive(Number(pid))
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

const poolsOf = (text: string): string[] =>
  z.array(z.string()).parse(JSON.parse(text))

/** What a worker held that is no more. */
interface Released {
  readonly name: string
  readonly pools: readonly string[]
  /** What became of it, for people. */
  readonly what: string
  /** It may have died of what it held. */
  readonly isLoss: boolean
}

/** Gives back what a worker held: others may take it. */
export const release = async (
  trx: NightDatabase,
  { name, pools, what, isLoss }: Released,
): Promise<void> => {
  const { rows } = await sql<{ night_id: number; id: string }>`
    update night_attempts a set state = 'queued', lost = lost + ${isLoss ? 1 : 0}, worker = null
    from night_cells c
    where a.worker = ${name} and a.state = 'running'
      and c.night_id = a.night_id and c.cell = a.cell
    returning a.night_id, c.id`.execute(trx)
  await sql`update night_kernels set state = 'wanted', message = null
    where state = 'building' and message = ${name}`.execute(trx)
  await unlockJobs(trx, pools)
  const nights = new Map<number, string[]>()
  for (const { night_id, id } of rows)
    nights.set(night_id, [...(nights.get(night_id) ?? []), id])
  if (nights.size === 0 && isLoss)
    await tell(trx, null, 'worker', `worker ${name} ${what}`)
  for (const [night, ids] of nights)
    await tell(
      trx,
      night,
      'worker',
      `worker ${name} ${what}: ${ids.length === 1 ? ids[0] : `${ids.length} cases`} in its hands ${ids.length === 1 ? 'is' : 'are'} booted again`,
    )
}

/** It holds jobs under other names as well. */
export const holdAs = async (
  db: NightDatabase,
  name: string,
  pools: readonly string[],
): Promise<void> => {
  await db
    .updateTable('night_workers')
    .set({ pools: JSON.stringify(pools) })
    .where('name', '=', name)
    .execute()
}

/** What the database says to a sign of life. */
export interface Beat {
  readonly state: Worker['state']
  /** Its clock, in milliseconds. */
  readonly clock: number
}

/** A sign of life. @param unfit why it takes no cases; null: it does */
export const beat = async (
  db: NightDatabase,
  name: string,
  unfit: string | null,
): Promise<Beat | undefined> => {
  const { rows } = await sql<{ state: Worker['state']; clock: string }>`
    update night_workers set seen = clock_timestamp(), unfit = ${unfit}
    where name = ${name}
    returning state, (extract(epoch from clock_timestamp()) * 1000)::text as clock`.execute(
    db,
  )
  const [row] = rows
  return row && { state: row.state, clock: Number(row.clock) }
}

/**
 * Gives up workers that were not heard of. Only for somebody who has reached
 * the database all that time: else it was the database that was away.
 *
 * @returns their names
 */
export const sweepWorkers = (db: NightDatabase): Promise<string[]> =>
  db.transaction().execute(async trx => {
    const { rows } = await sql<{ name: string; pools: string }>`
      update night_workers set state = 'lost'
      where state in ('up', 'draining')
        and seen < clock_timestamp() - make_interval(secs => ${LOST_SECONDS})
      returning name, pools`.execute(trx)
    for (const { name, pools } of rows)
      await release(trx, {
        name,
        pools: poolsOf(pools),
        what: `was not heard of for ${LOST_SECONDS} s`,
        isLoss: true,
      })
    return rows.map(({ name }) => name)
  })

/** One that was given up is there all the same. */
export const returned = async (
  db: NightDatabase,
  name: string,
): Promise<void> => {
  await db
    .updateTable('night_workers')
    .set({ state: 'up', seen: sql<Date>`clock_timestamp()` })
    .where('name', '=', name)
    .where('state', '=', 'lost')
    .execute()
  await tell(db, null, 'worker', `worker ${name} is back`)
}

export const leave = async (db: NightDatabase, name: string): Promise<void> => {
  await db
    .updateTable('night_workers')
    .set({ state: 'gone' })
    .where('name', '=', name)
    .execute()
}

/** Asks workers to take nothing more. @returns those that were asked */
export const askToDrain = async (
  db: NightDatabase,
  names: readonly string[],
): Promise<string[]> => {
  const rows = await db
    .updateTable('night_workers')
    .set({ state: 'draining' })
    .where('name', 'in', [...names])
    .where('state', 'in', ['up', 'draining'])
    .returning('name')
    .execute()
  return rows.map(({ name }) => name)
}

export const workersOf = async (db: NightDatabase): Promise<Worker[]> => {
  const { rows } = await sql<{
    name: string
    state: Worker['state']
    offer: string
    unfit: string | null
    process: string
    silent: number
  }>`select name, state, offer, unfit, process,
      extract(epoch from clock_timestamp() - seen)::float as silent
    from night_workers order by name`.execute(db)
  return rows.map(row => ({
    ...row,
    offer: offerSchema.parse(JSON.parse(row.offer)),
  }))
}
