import { stat } from 'node:fs/promises'
import { UsageError } from '../base/errors.ts'
import type { HistoryDatabase } from '../history/database.ts'
import type { ComparedDocument } from '../report/schema.ts'
import { readCompared } from '../run/result-file.ts'

/** Which history is meant. */
export interface HistoryFlags {
  readonly history?: string | undefined
}

/** Opens the history that is asked for. */
export const inHistory = async <T>(
  { history }: HistoryFlags,
  action: (db: HistoryDatabase) => Promise<T>,
): Promise<T> => {
  // Few commands need it, and it takes a while to load.
  const { usualPlace, withDatabase } = await import('../history/database.ts')
  return withDatabase(
    history ?? usualPlace(),
    {
      onWait: () => {
        process.stderr.write(
          'tdxrig: another tdxrig has the history: waiting\n',
        )
      },
    },
    action,
  )
}

/** A run by its number, `latest`, or the name of a baseline. */
export const runNumber = async (
  db: HistoryDatabase,
  name: string,
): Promise<number> => {
  if (/^\d{1,9}$/.test(name)) return Number(name)
  const { baselineRun, listRuns } = await import('../history/store.ts')
  if (name !== 'latest') return baselineRun(db, name)
  const [newest] = await listRuns(db, { limit: 1 })
  if (newest) return newest.id
  throw new UsageError('NO_RUN', 'there is no run in the history')
}

/** A file or a folder, and no run of the history. */
const isPath = async (name: string): Promise<boolean> =>
  name.includes('/') || (await stat(name).catch(() => undefined)) !== undefined

/**
 * What a run is compared by: of a result document, the folder of a run, or a
 * run of the history.
 *
 * @throws UsageError
 */
export const comparedOf = async (
  name: string,
  flags: HistoryFlags,
): Promise<ComparedDocument> => {
  if (await isPath(name)) return readCompared(name)
  const { readRun } = await import('../history/store.ts')
  return inHistory(flags, async db => readRun(db, await runNumber(db, name)))
}

/** Both runs of a comparison: one file is read while the other is parsed. */
export const bothCompared = async (
  old: string,
  now: string,
  flags: HistoryFlags,
): Promise<[old: ComparedDocument, now: ComparedDocument]> =>
  (await isPath(old)) && (await isPath(now))
    ? Promise.all([readCompared(old), readCompared(now)])
    : [await comparedOf(old, flags), await comparedOf(now, flags)]
