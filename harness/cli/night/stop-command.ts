import { InfraError, UsageError } from '../../base/errors.ts'
import { withNights } from '../../night/database.ts'
import { listNights, nightAt, stopNight } from '../../night/nights.ts'
import { LOST_SECONDS } from '../../night/workers.ts'
import { type PlaceFlags, nightsPlace, onWait } from './place.ts'

/** `tdxrig night stop`: gives up a night that nobody is to go on with. */
export const nightStopCommand = async (
  id: number | undefined,
  flags: PlaceFlags,
): Promise<number> =>
  withNights(nightsPlace(flags), { onWait, connections: 2 }, async ({ db }) => {
    const running = (await listNights(db, { limit: 1_000 })).filter(
      ({ state }) => state === 'running',
    )
    const [only, ...others] = running
    if (id === undefined && (only === undefined || others.length > 0))
      throw new UsageError(
        'NIGHT',
        `expected the number of a night that is under way, found ${running.map(one => `${one.id} ('${one.name}')`).join(', ') || 'none in this database'}`,
      )
    const night = await nightAt(db, id ?? only!.id)
    if (night.state !== 'running')
      throw new UsageError(
        'NIGHT',
        `night ${night.id} of '${night.name}' is ${night.state} already`,
      )
    if (night.silent !== undefined && night.silent < LOST_SECONDS)
      throw new InfraError(
        'NIGHT_LED',
        `night ${night.id} of '${night.name}' is led, by a process that was heard of ${Math.round(night.silent)} s ago: end that one first (SIGINT)`,
      )
    const left = await stopNight(db, night.id)
    process.stdout.write(
      `night ${night.id} of '${night.name}' is stopped${left === 0 ? '' : `; ${left} boots that are under way end by themselves`}\n`,
    )
    return 0
  })
