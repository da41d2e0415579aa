import { Option } from 'commander'

/** Apart from what reads it, which loads a database. */
export const databaseOption = (): Option =>
  new Option(
    '--database <url>',
    'postgres://...: workers on other machines take part; default: $DATABASE_URL, else none is needed',
  )
