import { createHash } from 'node:crypto'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { UsageError } from '../../base/errors.ts'
import { dataPlace } from '../../history/database.ts'
import {
  type DatabasePlace,
  checkUrl,
  isOnServer,
  shownPlace,
} from '../../history/postgres.ts'

/** Where nights are kept. */
export interface PlaceFlags {
  readonly database?: string
}

/**
 * The server that nights are on; undefined: they are of this user alone.
 *
 * @throws UsageError for what is no URL of PostgreSQL
 */
export const serverOf = ({ database }: PlaceFlags): string | undefined => {
  const url = database ?? process.env['DATABASE_URL']
  if (url === undefined || url === '') return undefined
  if (isOnServer(url)) {
    checkUrl(url)
    return url
  }
  throw new UsageError(
    'DATABASE',
    `expected a database such as postgres://user@host/name${database === undefined ? ' in $DATABASE_URL' : ' behind --database'}, found '${shownPlace(url)}'`,
  )
}

/** Where nights are: the server, or a database of this user. */
export const nightsPlace = (flags: PlaceFlags): DatabasePlace =>
  serverOf(flags) ?? dataPlace('nights')

/** @throws UsageError without one */
export const neededServer = (flags: PlaceFlags): string => {
  const url = serverOf(flags)
  if (url !== undefined) return url
  throw new UsageError(
    'DATABASE',
    'expected --database or $DATABASE_URL: workers meet in a database',
  )
}

export const onWait = (): void => {
  process.stderr.write(
    'tdxrig: another night is under way on this machine, and has the database of this user: waiting for its end (with a server, nights go on side by side: --database)\n',
  )
}

/** Where results wait: of this worker and this database alone. */
export const spoolFolder = (server: string, name: string): string => {
  const { hostname: host, port, pathname } = new URL(server)
  const digest = createHash('sha256')
    .update(`${host}:${port}${pathname}\n${name}`)
    .digest('hex')
  const state = process.env['XDG_STATE_HOME'] ?? ''
  return join(
    isAbsolute(state) ? state : join(homedir(), '.local', 'state'),
    'tdxrig',
    'spool',
    digest.slice(0, 16),
  )
}
