import { readFile, readdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import {
  type Dialect,
  Kysely,
  type MigrationProvider,
  Migrator,
  PostgresDialect,
} from 'kysely'
import { assetPath } from '../base/assets.ts'
import { InfraError, UsageError, messageOf } from '../base/errors.ts'
import { withLock } from '../base/lock.ts'
import { checkOutputFolder, ensureFolder } from '../base/output.ts'
import { MIGRATIONS } from './migrations.ts'
import { pgliteDialect } from './pglite-dialect.ts'
import type { HistoryTables } from './schema.ts'

export type HistoryDatabase = Kysely<HistoryTables>

/** `postgres://...`, or a folder with a database of our own. */
export type HistoryPlace = string

/** It is on a server, and not in a folder. */
export const isOnServer = (place: HistoryPlace): boolean =>
  /^postgres(ql)?:\/\//.test(place)

/** `$TDXRIG_HISTORY`, or `$XDG_DATA_HOME/tdxrig/history`. */
export const usualPlace = (
  env: NodeJS.ProcessEnv = process.env,
): HistoryPlace => {
  const asked = env['TDXRIG_HISTORY']
  if (asked) return asked
  const data = env['XDG_DATA_HOME'] ?? ''
  return join(
    isAbsolute(data) ? data : join(homedir(), '.local', 'share'),
    'tdxrig',
    'history',
  )
}

/** What is told while somebody else has the embedded database. */
export interface OpenOptions {
  readonly onWait: () => void
}

/**
 * Opens a history with the tables of this version, and closes it again.
 * Several processes may use one on a server; the embedded one has no lock of
 * its own, and one waits for the other.
 *
 * @throws UsageError for a place that cannot be used
 * @throws InfraError for a database that does not answer, or is of a newer
 *   tdxrig
 */
export const withDatabase = async <T>(
  place: HistoryPlace,
  { onWait }: OpenOptions,
  action: (db: HistoryDatabase) => Promise<T>,
): Promise<T> => {
  if (isOnServer(place)) return use(await serverDialect(place), place, action)
  const folder = resolve(place)
  await checkOutputFolder('--history', folder)
  await checkOurs(folder)
  return withLock(
    `${folder}.lock`,
    async () => use(await embeddedDialect(folder), place, action),
    { onWait },
  )
}

/** PGlite would make a database among whatever is there. */
const checkOurs = async (folder: string): Promise<void> => {
  const names = await readdir(folder)
  if (names.length > 0 && !names.includes('PG_VERSION'))
    throw new UsageError(
      'HISTORY',
      `${folder}: expected a history of tdxrig or an empty folder, found ${names.slice(0, 3).join(', ')}`,
    )
}

const use = async <T>(
  dialect: Dialect,
  place: HistoryPlace,
  action: (db: HistoryDatabase) => Promise<T>,
): Promise<T> => {
  const db = new Kysely<HistoryTables>({ dialect })
  try {
    await migrate(db, place)
    return await action(db)
  } finally {
    await db.destroy().catch(() => undefined)
  }
}

const PROVIDER: MigrationProvider = {
  getMigrations: () => Promise.resolve({ ...MIGRATIONS }),
}

const migrate = async (
  db: HistoryDatabase,
  place: HistoryPlace,
): Promise<void> => {
  const { error } = await new Migrator({
    db,
    provider: PROVIDER,
    migrationTableName: 'tdxrig_migrations',
    migrationLockTableName: 'tdxrig_migrations_lock',
  }).migrateToLatest()
  if (error === undefined) return
  const why = messageOf(error)
  throw new InfraError(
    'HISTORY',
    why.includes('previously executed migration')
      ? `the history in ${shownPlace(place)} is of a newer version of tdxrig: expected its steps up to ${Object.keys(MIGRATIONS).at(-1) ?? ''} (${why})`
      : `the history in ${shownPlace(place)} cannot be used: ${why}`,
  )
}

/** Without the password. */
export const shownPlace = (place: HistoryPlace): string =>
  place.replace(/(:\/\/[^:/@]*):[^@]*@/, '$1:...@')

const serverDialect = async (url: string): Promise<Dialect> => {
  const { Pool } = (await import('pg')).default
  const pool = new Pool({
    connectionString: url,
    max: 4,
    connectionTimeoutMillis: 10_000,
  })
  // A server that goes away is told by the query that meets it.
  pool.on('error', () => undefined)
  return new PostgresDialect({ pool })
}

const embeddedDialect = async (folder: string): Promise<Dialect> => {
  const { PGlite } = await import('@electric-sql/pglite')
  await ensureFolder(dirname(folder))
  const asset = (name: string): Promise<Buffer<ArrayBuffer>> =>
    readFile(assetPath(`pglite/${name}`))
  const compiled = async (name: string): Promise<WebAssembly.Module> =>
    WebAssembly.compile(await asset(name))
  try {
    const database = await PGlite.create({
      dataDir: folder,
      pgliteWasmModule: await compiled('pglite.wasm'),
      initdbWasmModule: await compiled('initdb.wasm'),
      fsBundle: new Blob([await asset('pglite.data')]),
    })
    return pgliteDialect(database)
  } catch (error) {
    throw new UsageError(
      'HISTORY',
      `${folder}: expected a history of tdxrig or an empty folder: ${messageOf(error)}`,
      { cause: error },
    )
  }
}
