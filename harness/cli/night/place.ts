import { Option } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { isOnServer } from '../../history/postgres.ts'

/** Where nights are kept. */
export interface PlaceFlags {
  readonly database?: string
}

export const databaseOption = (): Option =>
  new Option(
    '--database <url>',
    'postgres://...: workers on other machines take part; default: $DATABASE_URL, else none is needed',
  )

/**
 * The server that nights are on; undefined: each is in its own folder.
 *
 * @throws UsageError for what is no URL of PostgreSQL
 */
export const serverOf = ({ database }: PlaceFlags): string | undefined => {
  const url = database ?? process.env['DATABASE_URL']
  if (url === undefined || url === '') return undefined
  if (isOnServer(url)) return url
  throw new UsageError(
    'DATABASE',
    `expected a database such as postgres://user@host/name${database === undefined ? ' in $DATABASE_URL' : ' behind --database'}, found '${url.replace(/(:\/\/[^:/@]*):[^@]*@/, '$1:...@')}'`,
  )
}

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
    'tdxrig: another tdxrig has the database of this night: waiting\n',
  )
}
