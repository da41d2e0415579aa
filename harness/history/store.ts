import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { gunzip, gzip } from 'node:zlib'
import { type Insertable, sql } from 'kysely'
import { UsageError } from '../base/errors.ts'
import {
  type CaseResult,
  type ResultDocument,
  documentSchema,
} from '../report/schema.ts'
import type { HistoryDatabase } from './database.ts'
import type { HistoryTables, Volatile } from './schema.ts'

/** Runs that were kept: written, read, named, thrown away. */

const pack = promisify(gzip)
const unpack = promisify(gunzip)

const SCHEMA = documentSchema.shape.schema.value

const sha256 = (text: string): string =>
  createHash('sha256').update(text).digest('hex')

/** Rows of one statement: PostgreSQL takes 65,535 parameters. */
const ROWS = 1000

const chunks = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / ROWS) }, (_, i) =>
    items.slice(i * ROWS, (i + 1) * ROWS),
  )

const VOLATILE: readonly string[] = [
  'timing',
  'attempts',
  'cmdline',
] satisfies (keyof Volatile)[]

/** What is the same for the same kernel every night. */
const steady = (result: CaseResult): Omit<CaseResult, keyof Volatile> => {
  const kept = Object.entries(result).filter(
    ([name]) => !VOLATILE.includes(name),
  )
  return {
    ...(Object.fromEntries(kept) as Omit<CaseResult, keyof Volatile>),
    // Names of private folders and of files that are elsewhere by now.
    argv: [],
    console: null,
  }
}

/**
 * Keeps a run. The same document is kept once, however often it comes.
 *
 * @param label what is tested: runs of one label are compared
 * @returns the number of the run, and the label under which it is kept
 * @throws UsageError for a document with two results of one case
 */
export const addRun = async (
  db: HistoryDatabase,
  document: ResultDocument,
  label: string,
): Promise<{ readonly id: number; readonly label: string }> => {
  verifyIds(document)
  const details = await Promise.all(
    document.cases.map(async result => {
      const text = JSON.stringify(steady(result))
      return { result, digest: sha256(text), body: await pack(text) }
    }),
  )
  return db.transaction().execute(async trx => {
    await takeTurn(trx)
    const digest = sha256(JSON.stringify(document))
    const inserted = await trx
      .insertInto('runs')
      .values(runRow(document, label, digest))
      .onConflict(conflict => conflict.column('digest').doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!inserted) {
      const known = await trx
        .selectFrom('runs')
        .select(['id', 'label'])
        .where('digest', '=', digest)
        .executeTakeFirstOrThrow()
      return known
    }
    const cases = await numbersOf(trx, 'cases', {
      key: 'name',
      rows: document.cases.map(({ id }) => ({ name: id })),
    })
    const bodies = await numbersOf(trx, 'details', {
      key: 'digest',
      rows: details.map(({ digest: own, body }) => ({ digest: own, body })),
    })
    const rows = details.map(({ result, digest: own }) => ({
      run_id: inserted.id,
      case_id: cases.get(result.id)!,
      detail_id: bodies.get(own)!,
      ...resultRow(result),
    }))
    for (const part of chunks(rows))
      await trx.insertInto('results').values(part).execute()
    return { id: inserted.id, label }
  })
}

/** A case is found by its id. */
const verifyIds = ({ cases }: ResultDocument): void => {
  const seen = new Set<string>()
  for (const { id } of cases) {
    if (seen.has(id))
      throw new UsageError(
        'HISTORY',
        `the result has two results of '${id}': expected each case once`,
      )
    seen.add(id)
  }
}

/**
 * Who writes waits for others who write: cases and details are shared, and a
 * run must not refer to what is being thrown away.
 */
const takeTurn = async (trx: HistoryDatabase): Promise<void> => {
  await sql`select pg_advisory_xact_lock(${TURN})`.execute(trx)
}

/** Any number, as long as it is nobody else's. */
const TURN = 0x7d8716

const runRow = (
  { started, rig, durationMs, interrupted, kernels, summary }: ResultDocument,
  label: string,
  digest: string,
): Insertable<HistoryTables['runs']> => ({
  digest,
  schema: SCHEMA,
  started,
  label,
  machine: rig.machine,
  board: rig.board,
  rig_version: rig.version,
  duration_ms: durationMs,
  interrupted,
  kernels: JSON.stringify(kernels),
  ...summary,
})

const resultRow = ({
  verdict,
  timing,
  attempts,
  cmdline,
  layout,
}: CaseResult): Omit<
  Insertable<HistoryTables['results']>,
  'run_id' | 'case_id' | 'detail_id'
> => {
  const { headroom, pamtKiB } = layout
  const { reservedAreas } = headroom
  const judged = attempts.filter(one => one.verdict !== 'error')
  return {
    verdict,
    // From a snapshot it is a part of a boot, and nothing to compare with.
    total_ms: timing.snapshot === true ? 0 : timing.totalMs,
    attempts: judged.length,
    passed: judged.filter(one => one.verdict === 'pass').length,
    tdmrs: headroom.tdmrs.used,
    tdmrs_max: headroom.tdmrs.max,
    areas: reservedAreas?.atMost ?? null,
    areas_max: reservedAreas?.max ?? null,
    pamt_kib: pamtKiB,
    volatile: JSON.stringify({ timing, attempts, cmdline } satisfies Volatile),
  }
}

/** Numbers of rows that may be there already, by their key. */
const numbersOf = async (
  trx: HistoryDatabase,
  table: 'cases' | 'details',
  {
    key,
    rows,
  }: {
    readonly key: 'name' | 'digest'
    readonly rows: readonly Record<string, unknown>[]
  },
): Promise<Map<string, number>> => {
  const distinct = [
    ...new Map(rows.map(row => [row[key] as string, row])).values(),
  ]
  const numbers = new Map<string, number>()
  const name = sql.ref<string>(key)
  for (const part of chunks(distinct)) {
    const keys = part.map(row => row[key] as string)
    const known = await sql<{ id: number; key: string }>`
      select id, ${name} as key from ${sql.table(table)}
      where ${name} = any(${keys}::text[])`.execute(trx)
    for (const row of known.rows) numbers.set(row.key, row.id)
    const missing = part.filter(row => !numbers.has(row[key] as string))
    if (missing.length === 0) continue
    const inserted = await trx
      .insertInto(table)
      .values(missing as never)
      // Another process may have been quicker: its row is ours as well.
      .onConflict(conflict =>
        conflict.column(key as never).doUpdateSet({
          [key]: sql`excluded.${sql.ref(key)}`,
        }),
      )
      .returning(['id', sql<string>`${name}`.as('key')])
      .execute()
    for (const row of inserted) numbers.set(row.key, row.id)
  }
  return numbers
}

const kernelsSchema = documentSchema.shape.kernels

/** A run, without its cases. */
export interface RunSummary {
  readonly id: number
  readonly started: string
  readonly label: string
  readonly machine: string
  readonly durationMs: number
  readonly interrupted: boolean
  readonly kernels: ResultDocument['kernels']
  readonly summary: ResultDocument['summary']
  /** Names under which it is a baseline. */
  readonly baselines: readonly string[]
}

/** The newest runs first. @param label of these alone; undefined: all */
export const listRuns = async (
  db: HistoryDatabase,
  { limit, label }: { readonly limit: number; readonly label?: string },
): Promise<RunSummary[]> => {
  const rows = await db
    .selectFrom('runs')
    .selectAll('runs')
    .select(
      sql<
        string[]
      >`coalesce((select array_agg(name order by name) from baselines where run_id = runs.id), '{}')`.as(
        'baselines',
      ),
    )
    .$if(label !== undefined, query => query.where('label', '=', label!))
    .orderBy('started', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  return rows.map(row => ({
    id: row.id,
    started: row.started.toISOString(),
    label: row.label,
    machine: row.machine,
    durationMs: row.duration_ms,
    interrupted: row.interrupted,
    kernels: kernelsSchema.parse(JSON.parse(row.kernels)),
    summary: {
      pass: row.pass,
      fail: row.fail,
      invalid: row.invalid,
      error: row.error,
      skip: row.skip,
    },
    baselines: row.baselines,
  }))
}

/**
 * A run as it was kept: without QEMU's arguments and the places of consoles.
 *
 * @throws UsageError when there is no such run
 */
export const readRun = async (
  db: HistoryDatabase,
  id: number,
): Promise<ResultDocument> => {
  const run = await db
    .selectFrom('runs')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst()
  if (!run) throw noRun(id)
  if (run.schema !== SCHEMA)
    throw new UsageError(
      'OLD_RUN',
      `run ${id} was kept by another version of tdxrig, as ${run.schema}: expected ${SCHEMA}`,
    )
  const rows = await db
    .selectFrom('results')
    .innerJoin('details', 'details.id', 'results.detail_id')
    .select(['results.case_id', 'results.volatile', 'details.body'])
    .where('run_id', '=', id)
    .orderBy('results.case_id')
    .execute()
  const cases = await Promise.all(
    rows.map(async ({ volatile, body }) => ({
      ...(JSON.parse((await unpack(body)).toString('utf8')) as object),
      ...(JSON.parse(volatile) as Volatile),
    })),
  )
  return documentSchema.parse({
    schema: run.schema,
    rig: { version: run.rig_version, machine: run.machine, board: run.board },
    started: run.started.toISOString(),
    durationMs: run.duration_ms,
    interrupted: run.interrupted,
    kernels: JSON.parse(run.kernels) as unknown,
    summary: {
      pass: run.pass,
      fail: run.fail,
      invalid: run.invalid,
      error: run.error,
      skip: run.skip,
    },
    cases,
  })
}

/** Gives a run a name, which another run may have had. */
export const setBaseline = async (
  db: HistoryDatabase,
  name: string,
  run: number,
): Promise<void> => {
  await verifyRun(db, run)
  await db
    .insertInto('baselines')
    .values({ name, run_id: run })
    .onConflict(conflict =>
      conflict.column('name').doUpdateSet({ run_id: run }),
    )
    .execute()
}

const verifyRun = async (db: HistoryDatabase, id: number): Promise<void> => {
  const run = await db
    .selectFrom('runs')
    .select('id')
    .where('id', '=', id)
    .executeTakeFirst()
  if (!run) throw noRun(id)
}

const noRun = (id: number): UsageError =>
  new UsageError('NO_RUN', `there is no run ${id} in the history`)

/** @throws UsageError when no run has that name */
export const baselineRun = async (
  db: HistoryDatabase,
  name: string,
): Promise<number> => {
  const found = await db
    .selectFrom('baselines')
    .select('run_id')
    .where('name', '=', name)
    .executeTakeFirst()
  if (found) return found.run_id
  const names = await db.selectFrom('baselines').select('name').execute()
  throw new UsageError(
    'NO_BASELINE',
    `there is no baseline '${name}' in the history (there are: ${names.map(row => row.name).join(', ') || 'none'})`,
  )
}

/** What is thrown away. */
export interface PruneOptions {
  /** Keep so many of each label. */
  readonly keep?: number | undefined
  /** Keep what is not older than that, in seconds. */
  readonly age?: number | undefined
}

/**
 * Throws away runs that neither rule keeps. Baselines stay.
 *
 * @returns how many went
 */
export const prune = async (
  db: HistoryDatabase,
  { keep, age }: PruneOptions,
): Promise<number> => {
  if (keep === undefined && age === undefined) return 0
  return db.transaction().execute(async trx => {
    await takeTurn(trx)
    const gone = await sql<{ id: number }>`
      delete from runs where id in (
        select id from (
          select id, started,
            row_number() over (partition by label order by started desc, id desc) as place
          from runs
        ) ranked
        where (${keep === undefined} or place > ${keep ?? 0})
          and (${age === undefined} or started < now() - make_interval(secs => ${age ?? 0}))
          and id not in (select run_id from baselines)
      ) returning id`.execute(trx)
    await sql`
      delete from details where not exists (
        select 1 from results where detail_id = details.id)`.execute(trx)
    await sql`
      delete from cases where not exists (
        select 1 from results where case_id = cases.id)`.execute(trx)
    return gone.rows.length
  })
}
