import { stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { ensureFolder, writeWhole } from '../../base/output.ts'
import { UsageError, messageOf } from '../../base/errors.ts'
import type { HistoryDatabase } from '../../history/database.ts'
import { type Onset, onsetsOf } from '../../history/first-bad.ts'
import { addRun, baselineRun, listRuns, readRun } from '../../history/store.ts'
import {
  type NightCell,
  type NightResult,
  countClasses,
  nightResult,
} from '../../night/morning.ts'
import {
  type Against,
  type MorningContext,
  morningText,
  newFailures,
  nightExitCode,
} from '../../night/morning-text.ts'
import { morningMail } from '../../night/morning-mail.ts'
import type { Night } from '../../night/nights.ts'
import { throughOutages } from '../../night/outage.ts'
import type { Plan } from '../../night/plan.ts'
import type { NightDatabase } from '../../night/tables.ts'
import { compareRuns } from '../../report/compare.ts'
import { compareJson } from '../../report/compare-text.ts'
import { RENDER } from '../../report/formats/index.ts'
import type { ResultDocument } from '../../report/schema.ts'
import { reproduceWith } from '../../report/shell.ts'
import { folderName } from '../../run/store.ts'
import { reportHtml } from '../html-files.ts'
import { inHistory } from '../history-place.ts'
import { programName } from '../program-name.ts'
import { documentText } from '../report-files.ts'
import { VERSION } from '../version.ts'
import { type Bisected, bisectLine, bisectNew } from './bisects.ts'
import type { Log } from './log.ts'

export interface MorningFiles {
  readonly db: NightDatabase
  readonly night: Night
  readonly plan: Plan
  readonly folder: string
  readonly history: { readonly history?: string | undefined }
  readonly origin: string | undefined
  readonly signal: AbortSignal
  readonly log: Log
}

const unpack = promisify(gunzip)

/** What a night writes into its folder, beside consoles of what did not pass. */
const FILES = [
  'result.json',
  'junit.xml',
  'kcidb.json',
  'night.json',
  'report.html',
  'morning.txt',
  'mail.md',
] as const

/**
 * Reports are written when all is over: what is in their way is told before.
 *
 * @throws UsageError
 */
export const checkMorningFiles = async (folder: string): Promise<void> => {
  for (const name of FILES) {
    const info = await stat(join(folder, name)).catch(() => undefined)
    if (info?.isDirectory())
      throw new UsageError(
        'NIGHT_FOLDER',
        `${join(folder, name)}: expected to write a report there, found a folder`,
      )
  }
}

/**
 * The morning after a night: every report of it, in its folder, and the night
 * in the history.
 *
 * @returns what is printed, and the exit code
 */
export const writeMorning = async (
  options: MorningFiles,
): Promise<{ readonly text: string; readonly code: number }> => {
  const { db, night, plan, folder, origin, signal, log } = options
  const result = await throughOutages({ signal, onLog: log }, () =>
    nightResult(db, night, {
      version: VERSION,
      reproduce: reproduceWith(programName(), []),
    }),
  )
  const document = await withConsoles(result, folder)
  const seen = await compared(document, result, options)
  const bisects = bisectsOf(newFailures(result, seen.lastNight), seen, plan)
  const context: MorningContext = {
    ...seen,
    bisects: new Map(bisects.map(one => [one.id, bisectLine(one)])),
    report: relative(process.cwd(), join(folder, 'report.html')),
  }
  const at = (name: (typeof FILES)[number]): string => join(folder, name)
  await writeWhole(at('result.json'), documentText(document))
  await writeWhole(
    at('junit.xml'),
    RENDER.junit(document, { origin: 'tdxrig' }),
  )
  await writeWhole(
    at('kcidb.json'),
    RENDER.kcidb(document, { origin: origin ?? 'tdxrig' }),
  )
  await writeWhole(at('night.json'), nightJson(result, context))
  await writeWhole(
    at('report.html'),
    await reportHtml(document, {
      folder,
      baseline: seen.lastNight ?? null,
    }),
  )
  const text = morningText(result, context)
  await writeWhole(at('morning.txt'), text)
  await writeWhole(
    at('mail.md'),
    morningMail(result, context, RENDER.markdown(document, { origin: '' })),
  )
  if (plan.bisect > 0)
    await bisectNew(bisects.slice(0, plan.bisect), { folder, signal, log })
  return { text, code: nightExitCode(result.cells) }
}

/** Consoles of what did not pass come into the folder, as in that of a run. */
const withConsoles = async (
  { document, consoles }: NightResult,
  folder: string,
): Promise<ResultDocument> => {
  const paths = new Map<string, string>()
  for (const [id, packed] of consoles) {
    const name = join('cases', folderName(id))
    await ensureFolder(join(folder, name))
    await writeWhole(join(folder, name, 'console.log'), await unpack(packed))
    paths.set(id, join(name, 'console.log'))
  }
  return {
    ...document,
    cases: document.cases.map(one => ({
      ...one,
      console: paths.get(one.id) ?? null,
    })),
  }
}

type Seen = Pick<MorningContext, 'lastNight' | 'release' | 'onsets'>

/** Against the nights before; then it is one of them. */
const compared = async (
  document: ResultDocument,
  result: NightResult,
  { plan, history, log }: Pick<MorningFiles, 'plan' | 'history' | 'log'>,
): Promise<Seen> => {
  const failing = result.cells.filter(
    ({ class: is }) =>
      is === 'fail' || is === 'invalid' || is === 'unconfirmed',
  )
  try {
    return await inHistory(history, async db => {
      const lastNight = await lastRun(db, plan.label, document)
      await addRun(db, document, plan.label)
      const release = await againstRelease(db, document, { plan, log })
      return {
        lastNight,
        release,
        onsets: await onsetsOf(db, plan.label, failing),
      }
    })
  } catch (error) {
    // The verdicts are worth more than what they are compared with.
    log('database', `the night is compared with nothing: ${messageOf(error)}`)
    return { lastNight: undefined, release: undefined, onsets: new Map() }
  }
}

const lastRun = async (
  db: HistoryDatabase,
  label: string,
  document: ResultDocument,
): Promise<Against | undefined> => {
  const runs = await listRuns(db, { limit: 2, label })
  // One that goes on after its end has been kept already.
  const last = runs.find(({ started }) => started < document.started)
  return (
    last &&
    againstRun(
      db,
      last.id,
      `the night of ${last.started.slice(0, 16).replace('T', ' ')}`,
      document,
    )
  )
}

/** A baseline that nobody has set is told, and costs nothing else. */
const againstRelease = async (
  db: HistoryDatabase,
  document: ResultDocument,
  { plan: { release }, log }: Pick<MorningFiles, 'plan' | 'log'>,
): Promise<Against | undefined> => {
  if (release === null) return undefined
  try {
    const run = await baselineRun(db, release)
    return await againstRun(db, run, release, document)
  } catch (error) {
    log('night', messageOf(error))
    return undefined
  }
}

const againstRun = async (
  db: HistoryDatabase,
  run: number,
  name: string,
  document: ResultDocument,
): Promise<Against> => ({
  name,
  comparison: compareRuns(await readRun(db, run), document),
})

/** Of new failures on a branch, the search between the last good and now. */
const bisectsOf = (
  fresh: readonly NightCell[],
  { onsets }: Seen,
  plan: Plan,
): Bisected[] =>
  fresh.flatMap(({ id, kernel, scenario }) => {
    const origin = plan.origins[kernel]
    const onset = onsets.get(id)
    const like = plan.likes[kernel]
    const good = commitIn(onset)
    if (!origin?.commit || good === undefined || like === undefined) return []
    return [
      {
        id,
        scenario,
        tree: origin.commit.tree,
        good,
        bad: origin.commit.hash,
        kernel: like,
      },
    ]
  })

const commitIn = (onset: Onset | undefined): string | undefined =>
  /^commit ([\da-f]{12,40})/.exec(onset?.lastGood?.source ?? '')?.[1]

/** The night as JSON: classes, rates and boots, which a result has not. */
const nightJson = (
  { night, kernels, cells, events }: NightResult,
  { lastNight, release, onsets, bisects }: MorningContext,
): string =>
  `${JSON.stringify(
    {
      schema: 'tdxrig.night/1',
      night: night.id,
      name: night.name,
      label: night.label,
      started: night.started,
      ended: night.ended,
      summary: countClasses(cells),
      reduction: night.plan?.reduction ?? null,
      kernels,
      cells: cells.map(cell => ({
        ...cell,
        onset: onsets.get(cell.id) ?? null,
        bisect: bisects.get(cell.id) ?? null,
      })),
      events,
      lastNight: lastNight
        ? { name: lastNight.name, ...compareJson(lastNight.comparison) }
        : null,
      release: release
        ? { name: release.name, ...compareJson(release.comparison) }
        : null,
    },
    null,
    1,
  )}\n`
