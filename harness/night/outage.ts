import { setTimeout } from 'node:timers/promises'
import { RigError, messageOf, systemCode } from '../base/errors.ts'

/** Milliseconds between two tries to reach the database. */
const PAUSE = 1_000

/**
 * States of PostgreSQL that pass: the connection, resources, a shutdown, a
 * system error, a conflict with others, a server that only reads because it
 * is about to take over (PostgreSQL 15, appendix A).
 */
const PASSING = /^(08|53|57|58|40|55|25006)/

/** The database was not reached, or cannot answer now. */
export const isOutage = (error: unknown): boolean => {
  if (!(error instanceof Error) || error instanceof RigError) return false
  const code = systemCode(error)
  // A query that is wrong, or a row that does not fit: no pause mends it.
  if (code !== undefined && /^[\dA-Z]{5}$/.test(code)) return PASSING.test(code)
  // A file has a path; an address, or a cut connection, has none.
  if (code !== undefined) return !('path' in error)
  // pg says a cut connection and a late answer in words alone.
  return error.constructor === Error
}

export interface ThroughOptions {
  readonly signal: AbortSignal
  readonly onLog: (kind: 'database', text: string) => void
}

/**
 * Does something that may be done again, until the database was there for it.
 *
 * @throws what is no outage, and what the signal says
 */
export const throughOutages = async <T>(
  { signal, onLog }: ThroughOptions,
  action: () => Promise<T>,
): Promise<T> => {
  let told = ''
  for (;;) {
    try {
      return await action()
    } catch (error) {
      signal.throwIfAborted()
      if (!isOutage(error)) throw error
      if (messageOf(error) !== told) onLog('database', messageOf(error))
      told = messageOf(error)
      await setTimeout(PAUSE, undefined, { signal })
    }
  }
}
