import { Logger, type Runner, makeWorkerUtils, run } from 'graphile-worker'
import { EventEmitter } from 'node:events'
import { type RawBuilder, sql } from 'kysely'
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
  /** Seconds before which nobody takes it. */
  readonly delay?: number
}

/** A failed job is one whose worker could not even store what came of it. */
const MAX_ATTEMPTS = 100

/**
 * What the queue says of itself is of use when it does not work: its first
 * line, without the number of attempts, which is no number of boots. That a job
 * was interrupted is no fault.
 */
const logger = (onError: (text: string) => void): Logger =>
  new Logger(() => (level, message) => {
    const [first = ''] = message.split('\n')
    if (/^error$/.test(level) && !/with error 'interrupted'/.test(first))
      onError(first.replace(/, attempt \d+ of \d+/, ''))
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
  await addingJobs(
    sql`select value from json_array_elements(${JSON.stringify(jobs)}::json)`,
  ).execute(db)
}

/** A statement that adds jobs. @param jobs a query of them, as JSON */
export const addingJobs = (jobs: RawBuilder<unknown>): RawBuilder<unknown> =>
  sql`select ${sql.id(SCHEMA, 'add_job')}(
      job.task, job.payload, job_key := job.key, priority := job.priority,
      flags := job.flags, queue_name := job.line, max_attempts := ${MAX_ATTEMPTS},
      run_at := now() + make_interval(secs => coalesce(job.delay, 0)))
    from (${jobs}) as asked(text), json_to_record(asked.text) as job(
      task text, payload json, key text, priority int, flags text[], line text,
      delay float)`

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
  /** A flag that every job has. */
  readonly all: string
  readonly onError: (text: string) => void
}

/** Takes jobs until it is stopped. */
export interface Consumer {
  /** The name under which it holds jobs. */
  readonly pool: string
  /** Ids of the jobs it is at. */
  readonly underWay: ReadonlySet<string>
  /** It could take jobs, and does not ask for any. */
  readonly isStalled: () => boolean
  /** Takes no more, and ends those that it has. */
  readonly retire: () => void
  /** Takes no more, and waits for those that it has. */
  readonly stop: () => Promise<void>
}

/**
 * Milliseconds without a question for a job, of a consumer that has room: some
 * do not ask again after their connection was cut (graphile-worker 0.17.3).
 */
const STALLED = 8_000

/** Milliseconds after which a job is seen whose notice was lost. */
const POLL = 1_000

export const consume = async (
  pool: Pool,
  { tasks, concurrency, refused, all, onError }: ConsumeOptions,
): Promise<Consumer> => {
  const events = new EventEmitter()
  const underWay = new Set<string>()
  let isRetired = false
  let asked = performance.now()
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
    taskList: Object.fromEntries(
      Object.entries(tasks).map(([name, task]) => [
        name,
        async (
          payload: unknown,
          { job }: { readonly job: { readonly id: string | number } },
        ) => {
          // PGlite says it as a number.
          const id = String(job.id)
          underWay.add(id)
          try {
            await task(payload)
          } finally {
            underWay.delete(id)
          }
        },
      ]),
    ),
    // Called each time it asks for a job.
    forbiddenFlags: () => {
      asked = performance.now()
      return isRetired ? [all] : refused()
    },
    logger: logger(onError),
    events,
  })
  runner.promise.catch((error: unknown) => {
    onError(String(error))
  })
  return {
    pool: await created,
    underWay,
    isStalled: () =>
      underWay.size < concurrency && performance.now() - asked > STALLED,
    retire: () => {
      isRetired = true
    },
    stop: () => runner.stop(),
  }
}

/** Seconds after which a job was begun by whoever has taken it. */
const BEGUN_SECONDS = 5

/**
 * Frees jobs that a consumer holds and knows nothing of: the connection was cut
 * when they were given to it. The queue itself would keep them for four hours,
 * and has no function for it: these are its own tables (graphile-worker 0.17.3,
 * sql/getJobs.js).
 */
export const freeForgotten = async (
  db: NightDatabase,
  consumers: readonly Pick<Consumer, 'pool' | 'underWay'>[],
): Promise<number> => {
  const pools = consumers.map(({ pool }) => pool)
  const known = consumers.flatMap(({ underWay }) => [...underWay])
  const { rows } = await sql`
    with queues as (
      update ${sql.table(`${SCHEMA}._private_job_queues`)} q
      set locked_by = null, locked_at = null
      where q.locked_by = any(${pools}::text[])
        and q.locked_at < now() - make_interval(secs => ${BEGUN_SECONDS})
        and not exists (
          select 1 from ${sql.table(`${SCHEMA}._private_jobs`)} j
          where j.job_queue_id = q.id and j.id = any(${known}::bigint[])))
    update ${sql.table(`${SCHEMA}._private_jobs`)}
    set locked_by = null, locked_at = null
    where locked_by = any(${pools}::text[])
      and locked_at < now() - make_interval(secs => ${BEGUN_SECONDS})
      and id <> all(${known}::bigint[])
    returning id`.execute(db)
  return rows.length
}
