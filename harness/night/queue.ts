import { Logger, type Runner, makeWorkerUtils, run } from 'graphile-worker'
import { EventEmitter } from 'node:events'
import { sql } from 'kysely'
import type { Pool } from 'pg'
import type { NightDatabase } from './tables.ts'

/**
 * The queue that jobs go through: graphile-worker, in a schema of its own. It
 * holds what is under way and nothing else; what came of it is in our tables.
 * Its times are the database's, and a job is added in the same transaction as
 * the row that it is about.
 */

const SCHEMA = 'tdxrig_queue'

/** What is told of jobs that are to be taken at once. */
export interface Job {
  /** Who takes it: workers name the tasks they can do. */
  readonly task: string
  readonly payload: object
  /** The same job is added once. */
  readonly key: string
  /** Lower numbers first, -32768 to 32767. */
  readonly priority: number
  /** Workers take no job with a flag that they refuse. */
  readonly flags: readonly string[]
  /** Jobs of one line are done one after the other; null: it is in none. */
  readonly line: string | null
}

/** A failed job is one whose worker could not even store what came of it. */
const MAX_ATTEMPTS = 100

/** What the queue says of itself is of use when it does not work. */
const logger = (onError: (text: string) => void): Logger =>
  new Logger(() => (level, message) => {
    if (/^error$/.test(level)) onError(message)
  })

/** Brings the tables of the queue up to its version. */
export const prepareQueue = async (pool: Pool): Promise<void> => {
  const utils = await makeWorkerUtils({
    pgPool: pool,
    schema: SCHEMA,
    logger: logger(() => undefined),
  })
  await utils.migrate()
  await utils.release()
}

export const addJobs = async (
  db: NightDatabase,
  jobs: readonly Job[],
): Promise<void> => {
  if (jobs.length === 0) return
  await sql`select ${sql.id(SCHEMA, 'add_job')}(
      job.task, job.payload, job_key := job.key, priority := job.priority,
      flags := job.flags, queue_name := job.line, max_attempts := ${MAX_ATTEMPTS})
    from json_to_recordset(${JSON.stringify(jobs)}::json) as job(
      task text, payload json, key text, priority int, flags text[], line text)`.execute(
    db,
  )
}

/** Takes jobs back that nobody has begun. */
export const removeJobs = async (
  db: NightDatabase,
  keys: readonly string[],
): Promise<void> => {
  await sql`select ${sql.id(SCHEMA, 'remove_job')}(key)
    from unnest(${keys}::text[]) as key`.execute(db)
}

/** Jobs that were held under these names may be taken again. */
export const unlockJobs = async (
  db: NightDatabase,
  pools: readonly string[],
): Promise<void> => {
  await sql`select ${sql.id(SCHEMA, 'force_unlock_workers')}(${pools}::text[])`.execute(
    db,
  )
}

/** Does a job. What it throws has the job done again later. */
export type Task = (payload: unknown) => Promise<void>

export interface ConsumeOptions {
  readonly tasks: Readonly<Record<string, Task>>
  readonly concurrency: number
  /** Flags of jobs that are not taken now. */
  readonly refused: () => string[]
  readonly onError: (text: string) => void
}

/** Takes jobs until it is stopped. */
export interface Consumer {
  /** The name under which it holds jobs. */
  readonly pool: string
  /** Takes no more, and waits for those that it has. */
  readonly stop: () => Promise<void>
}

/** Milliseconds after which a job is seen whose notice was lost. */
const POLL = 1_000

export const consume = async (
  pool: Pool,
  { tasks, concurrency, refused, onError }: ConsumeOptions,
): Promise<Consumer> => {
  const events = new EventEmitter()
  const created = new Promise<string>(resolve => {
    events.once(
      'pool:create',
      ({ workerPool }: { readonly workerPool: { readonly id: string } }) => {
        resolve(workerPool.id)
      },
    )
  })
  const runner: Runner = await run({
    pgPool: pool,
    schema: SCHEMA,
    concurrency,
    pollInterval: POLL,
    noHandleSignals: true,
    // Else a connection that is cut while a job is being completed ends the
    // process (graphile-worker 0.17.3, lib.js, withRetries).
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    // Else it reads a file named crontab in whatever folder we are in.
    parsedCronItems: [],
    taskList: { ...tasks },
    forbiddenFlags: refused,
    logger: logger(onError),
    events,
  })
  runner.promise.catch((error: unknown) => {
    onError(String(error))
  })
  return { pool: await created, stop: () => runner.stop() }
}
