import { median } from '../../base/median.ts'
import { type AttemptKey, finishAttempt } from '../../night/attempts.ts'
import { type NightPlace, withNights } from '../../night/database.ts'
import { Leader } from '../../night/leader.ts'
import { News } from '../../night/news.ts'
import { keepPlan, createNight } from '../../night/nights.ts'
import { builtRecipes } from '../../kernel/recipe.ts'
import { startPostgres } from '../postgres.ts'
import { PLAN, cell, scriptedWorker } from './stage.ts'

/**
 * `scripts/bench night`: what a case costs beside its boot, on PostgreSQL, with
 * an empty database and with a night of many results in it.
 */

const CASES = 1_000
const STORED = 100_000

/** As workers store them, without the queue. */
const store = async ({ db }: NightPlace, night: number): Promise<void> => {
  const ROWS = 1_000
  for (let at = 0; at < STORED; at += ROWS)
    await db
      .insertInto('night_attempts')
      .values(
        Array.from({ length: ROWS }, (_, i) => ({
          night_id: night,
          cell: at + i,
          number: 1,
          reason: 'first',
          place: 'qemu',
          state: 'done' as const,
          lost: 0,
          verdict: 'pass' as const,
          machine: 'a',
          total_ms: 1,
          body: Buffer.alloc(3_000, at + i),
        })),
      )
      .execute()
  const last: AttemptKey = { night, cell: 0, number: 1 }
  const isStored = await finishAttempt(db, last, {
    verdict: 'pass',
    machine: 'a',
    totalMs: 1,
    message: null,
    body: null,
    console: null,
  })
  if (isStored) throw new Error('what is stored was stored again')
}

const ends: (() => unknown)[] = []
const server = await startPostgres({
  teardown: end => {
    ends.push(end as () => unknown)
  },
})
try {
  await withNights(
    await server.create('bench'),
    { onWait: () => undefined, connections: 16 },
    async place => {
      const controller = new AbortController()
      const worker = await scriptedWorker(place, 'a', {
        jobs: 4,
        boot: () =>
          Promise.resolve({
            verdict: 'pass' as const,
            machine: 'a',
            totalMs: 1,
            message: null,
            body: Buffer.alloc(3_000, 'x'),
            console: null,
          }),
        signal: controller.signal,
      })
      const newNight = async (count: number): Promise<number> => {
        const night = await createNight(place.db, PLAN)
        const [recipe] = builtRecipes(['/made'])
        await keepPlan(place.db, night, {
          plan: PLAN,
          kernels: [
            { name: 'kernel', recipe: recipe!, like: 'kernel', origin: null },
          ],
          cells: Array.from({ length: count }, (_, i) => cell(`case-${i}`)),
        })
        await place.db
          .updateTable('night_kernels')
          .set({ state: 'built', key: 'abc' })
          .where('night_id', '=', night)
          .execute()
        return night
      }
      /** Milliseconds a case, boots of no time at all. */
      const dispatch = async (): Promise<number> => {
        const night = await newNight(CASES)
        await using news = new News(place.pool)
        const begin = performance.now()
        await Leader.lead({
          place,
          night,
          plan: PLAN,
          news,
          signal: controller.signal,
          patienceMs: 60_000,
          onLog: () => undefined,
          onProgress: () => undefined,
        })
        return (performance.now() - begin) / CASES
      }
      const times = async (): Promise<number[]> => {
        const all: number[] = []
        for (let i = 0; i < 3; i++) all.push(await dispatch())
        return all
      }
      const told = (all: readonly number[]): string =>
        `${median(all).toFixed(2)} ms a case (${all.map(one => one.toFixed(2)).join(', ')})`
      await dispatch()
      const before = await times()
      process.stdout.write(`dispatch: ${told(before)}\n`)
      const full = await newNight(STORED)
      await store(place, full)
      const after = await times()
      process.stdout.write(
        `with ${STORED} results of another night: ${told(after)}, ratio ${(median(after) / median(before)).toFixed(2)}\n`,
      )
      await worker.drain()
    },
  )
} finally {
  for (const end of ends) await end()
}
