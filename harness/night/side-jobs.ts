import { sql } from 'kysely'
import * as z from 'zod'
import { messageOf } from '../base/errors.ts'
import type { FoundMachine } from '../board/index.ts'
import type { Recipe } from '../kernel/recipe.ts'
import { NEWS } from './attempts.ts'
import { tell } from './events.ts'
import { hostPlace } from './plan.ts'
import { parseRecipe } from './recipe-json.ts'
import type { NightDatabase } from './tables.ts'

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

/** Builds a kernel of a night, unless somebody has. */
export const buildForNight = async (
  db: NightDatabase,
  {
    build,
    worker,
    signal,
  }: {
    readonly build: BuildForAll
    readonly worker: string
    readonly signal: AbortSignal
  },
  payload: unknown,
): Promise<void> => {
  const { night, name } = kernelSchema.parse(payload)
  const row = await db
    .updateTable('night_kernels')
    // Who has it, for whoever sees that worker die.
    .set({ state: 'building', message: worker })
    .where('night_id', '=', night)
    .where('name', '=', name)
    .where('state', 'in', ['wanted', 'building'])
    .returning('recipe')
    .executeTakeFirst()
  if (!row) return
  const came = await build(parseRecipe(row.recipe)).then(
    ({ key, release }) => ({
      state: 'built' as const,
      key,
      release,
      message: null,
    }),
    (error: unknown) => {
      if (signal.aborted) throw error
      return { state: 'failed' as const, message: messageOf(error) }
    },
  )
  await db
    .updateTable('night_kernels')
    .set(came)
    .where('night_id', '=', night)
    .where('name', '=', name)
    // Somebody else may have it by now.
    .where('state', '=', 'building')
    .where('message', '=', worker)
    .execute()
  await news(db)
}
