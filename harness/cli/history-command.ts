import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import {
  type Trend,
  type TrendPoint,
  alarmsOf,
  flakyCases,
  newestRun,
  trends,
} from '../history/statistics.ts'
import {
  type RunSummary,
  addRun,
  listRuns,
  prune,
  readRun,
  setBaseline,
} from '../history/store.ts'
import { verdictCounts } from '../report/formats/words.ts'
import { readResult } from '../run/result-file.ts'
import { type HistoryFlags, inHistory, runNumber } from './history-place.ts'
import { documentText } from './report-files.ts'
import { printDocument } from './report-command.ts'
import { checkPruneRule } from './options.ts'
import type { RunFlags } from './run-flags.ts'

/** `tdxrig history`: runs that were kept. One function for each verb. */

interface JsonFlags extends HistoryFlags {
  readonly json?: boolean
}

interface WindowFlags extends JsonFlags {
  readonly label?: string
  readonly runs: number
}

const print = (text: string): void => {
  process.stdout.write(text)
}

const printJson = (data: unknown): void => {
  print(`${JSON.stringify(data, null, 2)}\n`)
}

export const historyAddCommand = async (
  paths: readonly string[],
  { label, ...flags }: HistoryFlags & { readonly label: string },
): Promise<number> => {
  // All are read before any is kept: one may be no result.
  const documents = await Promise.all(paths.map(readResult))
  await inHistory(flags, async db => {
    for (const { file, document } of documents) {
      const kept = await addRun(db, document, label)
      const other =
        kept.label === label ? '' : `, kept before as '${visible(kept.label)}'`
      print(
        `run ${kept.id}: ${visible(file)}, ${verdictCounts(document)}${other}\n`,
      )
    }
  })
  return 0
}

export const historyListCommand = async ({
  limit,
  label,
  json = false,
  ...flags
}: JsonFlags & {
  readonly limit: number
  readonly label?: string
}): Promise<number> => {
  const runs = await inHistory(flags, db =>
    listRuns(db, { limit, ...(label !== undefined && { label }) }),
  )
  if (json) printJson({ schema: 'tdxrig.history/1', runs })
  else if (runs.length === 0) print('the history has no runs\n')
  else print(runs.map(runLine).join(''))
  return 0
}

const runLine = (run: RunSummary): string => {
  const { id, started, label, kernels, baselines } = run
  return `${[
    String(id).padStart(5),
    started.slice(0, 16).replace('T', ' '),
    visible(label).padEnd(12),
    verdictCounts(run).padEnd(24),
    kernels.map(({ name }) => visible(name)).join(' '),
    ...(run.interrupted ? ['(interrupted)'] : []),
    ...(baselines.length > 0 ? [`[${baselines.map(visible).join(', ')}]`] : []),
  ].join('  ')}\n`
}

export const historyShowCommand = async (
  run: string,
  { json = false, ...flags }: JsonFlags & Pick<RunFlags, 'reporter' | 'ascii'>,
): Promise<number> => {
  const document = await inHistory(flags, async db =>
    readRun(db, await runNumber(db, run)),
  )
  if (json) print(documentText(document))
  else await printDocument(document, '.', flags)
  return 0
}

export const historyBaselineCommand = async (
  name: string,
  run: string | undefined,
  flags: HistoryFlags,
): Promise<number> => {
  if (/^(\d+|latest)$|\//.test(name))
    throw new UsageError(
      'BASELINE',
      `expected a name for the baseline that is no number, no path and not 'latest', found '${name}'`,
    )
  await inHistory(flags, async db => {
    const number = await runNumber(db, run ?? 'latest')
    await setBaseline(db, name, number)
    print(`${visible(name)} is run ${number}\n`)
  })
  return 0
}

export const historyFlakyCommand = async ({
  json = false,
  label,
  runs,
  ...flags
}: WindowFlags): Promise<number> => {
  const cases = await inHistory(flags, db => flakyCases(db, { label, runs }))
  if (json) printJson({ schema: 'tdxrig.flaky/1', cases })
  else if (cases.length === 0)
    print(`no case is flaky in the last ${runs} runs\n`)
  else
    print(
      cases
        .map(
          ({ id, boots, failed, flips, mixed }) =>
            `${((100 * failed) / boots).toFixed(1).padStart(5)}%  ${visible(id)}: ${failed} of ${boots} boots failed, ${flips} changes from run to run, ${mixed} runs with both\n`,
        )
        .join(''),
    )
  return 0
}

export const historyTrendCommand = async (
  filter: string | undefined,
  { json = false, label, runs, ...flags }: WindowFlags,
): Promise<number> => {
  const found = await inHistory(flags, db =>
    trends(db, { filter, label, runs }),
  )
  if (found.length === 0 && filter !== undefined)
    throw new UsageError(
      'NO_CASE',
      `no case with '${filter}' in its id is in the last ${runs} runs`,
    )
  const newest = newestRun(found)
  const alarms = found.flatMap(trend => alarmsOf(trend, newest))
  if (json) printJson({ schema: 'tdxrig.trend/1', alarms, cases: found })
  else {
    print(
      alarms
        .map(({ id, message }) => `ALARM  ${visible(id)}: ${message}\n`)
        .join(''),
    )
    if (filter !== undefined) print(found.map(trendText).join('\n'))
    else if (alarms.length === 0)
      print(`${found.length} cases in the last ${runs} runs: nothing unusual\n`)
  }
  return alarms.length > 0 ? 1 : 0
}

const trendText = ({ id, points }: Trend): string =>
  [visible(id), ...points.map(pointLine), ''].join('\n')

const pointLine = (point: TrendPoint): string =>
  `  ${[
    point.started.slice(0, 16).replace('T', ' '),
    point.verdict.padEnd(7),
    `${(point.totalMs / 1000).toFixed(2)} s`.padStart(8),
    `${point.tdmrs} of ${point.tdmrsMax} TDMRs`,
    ...(point.areas === null
      ? []
      : [`${point.areas} of ${point.areasMax ?? 0} reserved areas`]),
    `PAMT ${point.pamtKiB} KiB`,
  ].join('  ')}`

export const historyPruneCommand = async ({
  keep,
  older,
  ...flags
}: HistoryFlags & {
  readonly keep?: number
  readonly older?: number
}): Promise<number> => {
  checkPruneRule({ keep, older })
  const gone = await inHistory(flags, db => prune(db, { keep, age: older }))
  print(`${gone} runs were thrown away\n`)
  return 0
}
