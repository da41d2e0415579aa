import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { Kysely, type Migration, Migrator, PostgresDialect } from 'kysely'
import type { Pool } from 'pg'
import { InfraError, messageOf, systemCode } from '../base/errors.ts'
import { MIGRATIONS } from './migrations.ts'
import { type DatabasePlace, shownPlace, withPool } from './postgres.ts'
import type { HistoryTables } from './schema.ts'

export type HistoryDatabase = Kysely<HistoryTables>

/** `$TDXRIG_HISTORY`, or `$XDG_DATA_HOME/tdxrig/history`. */
export const usualPlace = (
  env: NodeJS.ProcessEnv = process.env,
): DatabasePlace => {
  const asked = env['TDXRIG_HISTORY']
  return asked ? asked : dataPlace('history', env)
}

/** Of this user: `$XDG_DATA_HOME/tdxrig/NAME`. */
export const dataPlace = (
  name: string,
  env: NodeJS.ProcessEnv = process.env,
): DatabasePlace => {
  const data = env['XDG_DATA_HOME'] ?? ''
  return join(
    isAbsolute(data) ? data : join(homedir(), '.local', 'share'),
    'tdxrig',
    name,
  )
}

/** What is told while somebody else has the embedded database. */
export interface OpenOptions {
  readonly onWait: () => void
}

/**
 * Opens a history with the tables of this version, and closes it again.
 *
 * @throws UsageError for a place that cannot be used
 * @throws InfraError for a database that does not answer, or is of a newer
 *   tdxrig
 */
export const withDatabase = <T>(
  place: DatabasePlace,
  { onWait }: OpenOptions,
  action: (db: HistoryDatabase) => Promise<T>,
): Promise<T> =>
  withPool(place, { onWait, connections: 4, option: '--history' }, pool =>
    withTables<HistoryTables, T>(
      pool,
      {
        what: `the history in ${shownPlace(place)}`,
        table: 'tdxrig_migrations',
        migrations: MIGRATIONS,
      },
      action,
    ),
  )

export interface Tables {
  /** For people. */
  readonly what: string
  /** Where it is kept which steps were made. */
  readonly table: string
  readonly migrations: Readonly<Record<string, Migration>>
}

/** Brings tables up to this version, and ends the pool in the end. */
export const withTables = async <DB, T>(
  pool: Pool,
  tables: Tables,
  action: (db: Kysely<DB>) => Promise<T>,
): Promise<T> => {
  const db = new Kysely<DB>({ dialect: new PostgresDialect({ pool }) })
  try {
    await migrate(db, tables)
    return await action(db)
  } finally {
    await db.destroy().catch(() => undefined)
  }
}

const migrate = async <DB>(
  db: Kysely<DB>,
  { what, table, migrations }: Tables,
): Promise<void> => {
  const { error } = await new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve({ ...migrations }) },
    migrationTableName: table,
    migrationLockTableName: `${table}_lock`,
  }).migrateToLatest()
  if (error === undefined) return
  const why = messageOf(error)
  const advice = databaseAdvice(error)
  throw new InfraError(
    'DATABASE',
    why.includes('previously executed migration')
      ? `${what} is of a newer version of tdxrig: expected its steps up to ${Object.keys(migrations).at(-1) ?? ''} (${why})`
      : `${what} cannot be used: ${why}${advice === undefined ? '' : `; ${advice}`}`,
    { cause: error },
  )
}

/** By SQLSTATE, system code, or what the driver says: what helps. */
const ADVICE: readonly { readonly when: RegExp; readonly advice: string }[] = [
  {
    when: /password must be a string/,
    advice:
      'the server asks for a password: put one into the URL, or into PGPASSWORD',
  },
  {
    when: /^28/,
    advice:
      'check user and password; special signs in a password are written as %40',
  },
  {
    when: /^3D000$/,
    advice: 'make the database: createdb --owner USER NAME',
  },
  {
    when: /^42501$/,
    advice:
      'the user must be the owner of the database: createdb --owner USER NAME',
  },
  {
    when: /^25006$/,
    advice:
      'it is a standby or set to read only: expected a server that takes writes',
  },
  {
    when: /^42P07$/,
    advice:
      'expected an empty database or one of tdxrig, found tables of something else',
  },
  {
    when: /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT)$/,
    advice: 'check host and port, and that the server runs',
  },
  {
    when: /^Connection terminated/,
    advice: 'check that a PostgreSQL answers at this port',
  },
]

const databaseAdvice = (error: unknown): string | undefined => {
  const code = systemCode(error) ?? ''
  return ADVICE.find(
    ({ when }) => when.test(code) || when.test(messageOf(error)),
  )?.advice
}
