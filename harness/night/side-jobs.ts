import { sql } from 'kysely'
import * as z from 'zod'
import { RigError, UsageError, messageOf } from '../base/errors.ts'
import type { FoundMachine } from '../board/index.ts'
import type { Recipe } from '../kernel/recipe.ts'
import { BOOTS, JOB, NEWS, notOn } from './attempts.ts'
import { tell } from './events.ts'
import { hostPlace } from './plan.ts'
import { type Job, addJobs } from './queue.ts'
import { parseRecipe } from './recipe-json.ts'
import type { NightDatabase } from './tables.ts'
import { workersOf } from './workers.ts'

/** Jobs of a night that are no boots: looking at hosts, building kernels. */

export const lookTask = (host: string): string => `look:${hostPlace(host)}`
export const homeTask = (host: string): string => `home:${hostPlace(host)}`
export const BUILD_TASK = 'build'
/** Of kernels whose source is on one machine. */
export const buildTaskOn = (machine: string): string => `build@${machine}`

/** Of a host that was given back. */
export const HOME = 'home'

const hostSchema = z.object({ night: z.int() })
const kernelSchema = z.object({ night: z.int(), name: z.string() })

const news = async (db: NightDatabase): Promise<void> => {
  await sql`select pg_notify(${NEWS}, '')`.execute(db)
}

/** Keeps what a host is, or why it was not reached. */
export const lookAtHost = async (
  db: NightDatabase,
  host: { readonly name: string; readonly look: () => Promise<FoundMachine> },
  payload: unknown,
): Promise<void> => {
  const { night } = hostSchema.parse(payload)
  const found = await host.look().then(
    machine => ({ found: JSON.stringify(machine), message: null }),
    (error: unknown) => ({ found: null, message: messageOf(error) }),
  )
  await db
    .insertInto('night_hosts')
    .values({ night_id: night, host: host.name, errors: 0, ...found })
    .onConflict(conflict =>
      conflict.columns(['night_id', 'host']).doUpdateSet(found),
    )
    .execute()
  await news(db)
}

/** Keeps that a host boots what it boots by itself, or what went wrong. */
export const giveHostBack = async (
  db: NightDatabase,
  host: { readonly name: string; readonly letGo: () => Promise<void> },
  payload: unknown,
): Promise<void> => {
  const { night } = hostSchema.parse(payload)
  const home = await host.letGo().then(() => HOME, messageOf)
  if (home !== HOME) await tell(db, night, 'host', home)
  await db
    .updateTable('night_hosts')
    .set({ home })
    .where('night_id', '=', night)
    .where('host', '=', host.name)
    .execute()
  await news(db)
}

/** A kernel as it was built, and kept for the others. */
export interface BuiltForAll {
  readonly key: string
  readonly release: string | null
}

export type BuildForAll = (recipe: Recipe) => Promise<BuiltForAll>

/** Asks for a kernel. @param machine that has its source; null: any builds it */
export const buildJob = (
  night: number,
  name: string,
  machine: string | null,
): Job => ({
  task: machine === null ? BUILD_TASK : buildTaskOn(machine),
  payload: { night, name },
  key: `build-${night}-${name}`,
  priority: 0,
  flags: [JOB, BOOTS],
  line: null,
})

export interface Builder {
  readonly build: BuildForAll
  readonly worker: string
  /** The machine that has the source; null: any has. */
  readonly machine: string | null
  readonly signal: AbortSignal
}

/** Builds that faults of machines have ended, before it is given up. */
const MOST_FAULTS = 5

/**
 * It says something of the kernel, and is the same on every machine. A file
 * that is another one than its signed list has is a fault of a mirror.
 */
const isOfKernel = (error: unknown): boolean =>
  (error instanceof UsageError && error.code !== 'SIGNATURE') ||
  (error instanceof RigError && error.code === 'BUILD_FAILED')

/**
 * Builds a kernel of a night, unless somebody has. What a fault of this machine
 * has ended is built again, elsewhere where that is possible.
 */
export const buildForNight = async (
  db: NightDatabase,
  builder: Builder,
  payload: unknown,
): Promise<void> => {
  const { build, worker, signal } = builder
  const { night, name } = kernelSchema.parse(payload)
  const row = await db
    .updateTable('night_kernels')
    // Who has it, for whoever sees that worker die.
    .set({ state: 'building', message: worker })
    .where('night_id', '=', night)
    .where('name', '=', name)
    .where('state', 'in', ['wanted', 'building'])
    .returning(['recipe', 'faults'])
    .executeTakeFirst()
  if (!row) return
  const faults = row.faults + 1
  const came = await build(parseRecipe(row.recipe)).then(
    ({ key, release }) => ({
      state: 'built' as const,
      key,
      release,
      message: null,
    }),
    (error: unknown) => {
      if (signal.aborted) throw error
      return isOfKernel(error) || faults >= MOST_FAULTS
        ? { state: 'failed' as const, faults, message: messageOf(error) }
        : { state: 'wanted' as const, faults, message: messageOf(error) }
    },
  )
  const { numUpdatedRows } = await db
    .updateTable('night_kernels')
    .set(came)
    .where('night_id', '=', night)
    .where('name', '=', name)
    // Somebody else may have it by now.
    .where('state', '=', 'building')
    .where('message', '=', worker)
    .executeTakeFirst()
  if (came.state === 'wanted' && numUpdatedRows > 0n)
    await buildAgain(db, builder, { night, name, faults, why: came.message })
  await news(db)
}

/** Later each time, since what was full or away may be so for a while. */
const buildAgain = async (
  db: NightDatabase,
  { worker, machine }: Builder,
  {
    night,
    name,
    faults,
    why,
  }: {
    readonly night: number
    readonly name: string
    readonly faults: number
    readonly why: string
  },
): Promise<void> => {
  const others = (await workersOf(db)).filter(
    ({ name: other, state, unfit, offer }) =>
      other !== worker &&
      state === 'up' &&
      unfit === null &&
      offer.builds &&
      (machine === null || offer.machine === machine),
  )
  const job = buildJob(night, name, machine)
  await addJobs(db, [
    others.length > 0
      ? { ...job, flags: [...job.flags, notOn(worker)] }
      : { ...job, delay: 3 ** faults },
  ])
  await tell(
    db,
    night,
    'kernel',
    `kernel ${name} could not be built by ${worker}, it is built again: ${why}`,
  )
}
