import { readFile, readdir } from 'node:fs/promises'
import { Socket } from 'node:net'
import { dirname, resolve } from 'node:path'
import type { Pool } from 'pg'
import { assetPath } from '../base/assets.ts'
import { UsageError, messageOf } from '../base/errors.ts'
import { withLock } from '../base/lock.ts'
import { checkOutputFolder, ensureFolder } from '../base/output.ts'
import { pglitePool } from './pglite-pool.ts'

/** `postgres://...`, or a folder with a database of our own. */
export type DatabasePlace = string

/** It is on a server, and not in a folder. */
export const isOnServer = (place: DatabasePlace): boolean =>
  /^postgres(ql)?:\/\//i.test(place)

/**
 * Without passwords: one before the last `@`, wherever a sign in it ought to
 * have been written otherwise, and one among the options.
 */
export const shownPlace = (place: DatabasePlace): string =>
  place
    .replace(/^([a-z]+:\/\/[^:@]*):.*@/is, '$1:...@')
    .replace(/([?&]password=)[^&]*/gi, '$1...')

/** @throws UsageError for a URL that cannot be read */
export const checkUrl = (place: DatabasePlace): void => {
  const problem = URL.canParse(place)
    ? new URL(place).hostname === '' && !/[?&]host=/.test(place)
      ? 'it names no server'
      : undefined
    : 'signs such as @ / # in a password are written %40 %2F %23, and a port is a number up to 65535'
  if (problem !== undefined)
    throw new UsageError(
      'DATABASE',
      `expected a database such as postgres://user:password@host:5432/name, found ${shownPlace(place)}: ${problem}`,
    )
}

export interface PoolOptions {
  /** Told while somebody else has the embedded database. */
  readonly onWait: () => void
  /** Connections to a server, at most. */
  readonly connections: number
  /** The option that names the place, for messages. */
  readonly option: string
}

/**
 * Opens a database: on a server, or PGlite in a folder. Several processes may
 * use one on a server; the embedded one has no lock of its own, and one waits
 * for the other. The action ends the pool.
 *
 * @throws UsageError for a place that cannot be used
 */
export const withPool = async <T>(
  place: DatabasePlace,
  options: PoolOptions,
  action: (pool: Pool) => Promise<T>,
): Promise<T> => {
  if (isOnServer(place)) return withServer(place, options, action)
  const folder = resolve(place)
  await checkOutputFolder(options.option, folder)
  await checkOurs(folder)
  return withLock(
    `${folder}.lock`,
    async () => action(quiet(await embeddedPool(folder))),
    { onWait: options.onWait },
  )
}

/** A server that goes away is told by the query that meets it. */
const quiet = (pool: Pool): Pool => {
  const ignore = (): void => undefined
  pool.on('error', ignore)
  pool.on('connect', client => {
    client.setMaxListeners(0)
    client.on('error', ignore)
  })
  return pool
}

/** PGlite would make a database among whatever is there. */
const checkOurs = async (folder: string): Promise<void> => {
  const names = await readdir(folder)
  if (names.length > 0 && !names.includes('PG_VERSION'))
    throw new UsageError(
      'DATABASE',
      `${folder}: expected a database of tdxrig or an empty folder, found ${names.slice(0, 3).join(', ')}`,
    )
}

const withServer = async <T>(
  url: string,
  { connections }: PoolOptions,
  action: (pool: Pool) => Promise<T>,
): Promise<T> => {
  checkUrl(url)
  // A login that fails leaves its connection open, until the server closes it
  // after a minute (pg 8).
  const sockets = new Set<Socket>()
  try {
    return await action(
      quiet(
        await serverPool(url, connections, () => {
          const socket = new Socket()
          sockets.add(socket)
          socket.once('close', () => sockets.delete(socket))
          return socket
        }),
      ),
    )
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

const serverPool = async (
  url: string,
  max: number,
  stream: () => Socket,
): Promise<Pool> => {
  const pg = (await import('pg')).default
  return new pg.Pool({
    connectionString: url,
    max,
    stream,
    connectionTimeoutMillis: 10_000,
    // A server that is gone without a word must not be waited for for ever.
    keepAlive: true,
    query_timeout: 60_000,
    application_name: 'tdxrig',
  })
}

const embeddedPool = async (folder: string): Promise<Pool> => {
  const { PGlite } = await import('@electric-sql/pglite')
  await ensureFolder(dirname(folder))
  const asset = (name: string): Promise<Buffer<ArrayBuffer>> =>
    readFile(assetPath(`pglite/${name}`))
  const compiled = async (name: string): Promise<WebAssembly.Module> =>
    WebAssembly.compile(await asset(name))
  try {
    return pglitePool(
      await PGlite.create({
        dataDir: folder,
        pgliteWasmModule: await compiled('pglite.wasm'),
        initdbWasmModule: await compiled('initdb.wasm'),
        fsBundle: new Blob([await asset('pglite.data')]),
      }),
    )
  } catch (error) {
    throw new UsageError(
      'DATABASE',
      `${folder}: expected a database of tdxrig or an empty folder: ${messageOf(error)}`,
      { cause: error },
    )
  }
}
