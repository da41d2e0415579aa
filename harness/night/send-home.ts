import { JOB } from './attempts.ts'
import type { NightPlace } from './database.ts'
import type { News } from './news.ts'
import { hostPlace } from './plan.ts'
import { addJobs } from './queue.ts'
import { HOME, homeTask } from './side-jobs.ts'

export interface HomeOptions {
  readonly place: NightPlace
  readonly night: number
  readonly news: News
  readonly signal: AbortSignal
  /** Milliseconds for which hosts are waited for. */
  readonly patienceMs: number
}

/**
 * Every host that a night has used is given back.
 *
 * @returns those of which that was not seen: they go home by themselves
 */
export const sendHome = async ({
  place,
  night,
  news,
  signal,
  patienceMs,
}: HomeOptions): Promise<string[]> => {
  const hosts = await place.db
    .selectFrom('night_hosts')
    .select('host')
    .where('night_id', '=', night)
    .execute()
  await addJobs(
    place.db,
    hosts.map(({ host }) => ({
      task: homeTask(host),
      payload: { night },
      key: `home-${night}-${host}`,
      priority: 0,
      flags: [JOB],
      line: hostPlace(host),
    })),
  )
  const away = await news.until({
    look: () =>
      place.db
        .selectFrom('night_hosts')
        .select(['host', 'home'])
        .where('night_id', '=', night)
        .where(row =>
          row.or([row('home', 'is', null), row('home', '<>', HOME)]),
        )
        .execute(),
    isDone: hosts => hosts.every(({ home }) => home !== null),
    patienceMs,
    signal,
  })
  return away.map(({ host }) => host)
}
