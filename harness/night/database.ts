import type { Pool } from 'pg'
import { withTables } from '../history/database.ts'
import {
  type DatabasePlace,
  shownPlace,
  withPool,
} from '../history/postgres.ts'
import { NIGHT_MIGRATIONS } from './migrations.ts'
import { prepareQueue } from './queue.ts'
import type { NightDatabase, NightTables } from './tables.ts'

/** The tables of nights, and the queue beside them. */
export interface NightPlace {
  readonly db: NightDatabase
  readonly pool: Pool
}

export interface NightOptions {
  /** Told while another process has the embedded database. */
  readonly onWait: () => void
  /** Connections to a server, at most. */
  readonly connections: number
}

/**
 * Opens the database of nights: `postgres://...`, or a folder with one of our
 * own.
 *
 * @throws as {@link withPool} and `withTables` do
 */
export const withNights = <T>(
  place: DatabasePlace,
  { onWait, connections }: NightOptions,
  action: (night: NightPlace) => Promise<T>,
): Promise<T> =>
  withPool(place, { onWait, connections, option: '--database' }, pool =>
    withTables<NightTables, T>(
      pool,
      {
        what: `the database of nights in ${shownPlace(place)}`,
        table: 'tdxrig_night_migrations',
        migrations: NIGHT_MIGRATIONS,
      },
      async db => {
        await prepareQueue(pool)
        return action({ db, pool })
      },
    ),
  )
