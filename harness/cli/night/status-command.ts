import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { UsageError, systemCode } from '../../base/errors.ts'
import { visible } from '../../base/text.ts'
import { withNights } from '../../night/database.ts'
import { classCounts, duration } from '../../night/morning-text.ts'
import { listNights } from '../../night/nights.ts'
import { type NightStatus, statusOf } from '../../night/status.ts'
import { LOST_SECONDS } from '../../night/workers.ts'
import { metricsText } from './metrics.ts'
import { type PlaceFlags, onWait, serverOf } from './place.ts'
import { STATUS_FILE } from './which-night.ts'

export interface NightStatusFlags extends PlaceFlags {
  readonly json?: boolean
  readonly prometheus?: boolean
  readonly watch?: boolean
}

/** Milliseconds between two looks of --watch. */
const AGAIN = 2_000

/** `tdxrig night status`: how the newest night stands. */
export const nightStatusCommand = async (
  folder: string | undefined,
  flags: NightStatusFlags,
): Promise<number> => {
  const server = folder === undefined ? serverOf(flags) : undefined
  const look = (): Promise<NightStatus> =>
    server === undefined ? inFolder(folder) : onServer(server)
  if (flags.watch !== true) {
    await print(await look(), flags)
    return 0
  }
  const { createLogUpdate } = await import('log-update')
  const draw = createLogUpdate(process.stdout)
  for (;;) {
    const status = await look()
    draw(statusText(status))
    if (status.state !== 'running') return 0
    await setTimeout(AGAIN)
  }
}

const print = async (
  status: NightStatus,
  { json = false, prometheus = false }: NightStatusFlags,
): Promise<void> => {
  process.stdout.write(
    prometheus
      ? await metricsText(status)
      : json
        ? `${JSON.stringify(status, null, 2)}\n`
        : statusText(status),
  )
}

const onServer = (url: string): Promise<NightStatus> =>
  withNights(url, { onWait, connections: 2 }, async ({ db }) => {
    const [night] = await listNights(db, { limit: 1 })
    if (night) return statusOf(db, night)
    throw new UsageError('NO_NIGHT', 'there was no night in this database')
  })

/** A status that is older was left by a process that is no more. */
const STALE_SECONDS = 60

/** What the process that has the database writes down. */
const inFolder = async (folder: string | undefined): Promise<NightStatus> => {
  const path = join(folder ?? (await newestFolder()), STATUS_FILE)
  try {
    const status = JSON.parse(await readFile(path, 'utf8')) as NightStatus
    const silence = (Date.now() - (await stat(path)).mtimeMs) / 1000
    // Whoever leads it writes it all the time, but not while it plans.
    return silence > STALE_SECONDS
      ? { ...status, leaderSilentSeconds: Math.round(silence) }
      : status
  } catch (error) {
    if (systemCode(error) === undefined && !(error instanceof SyntaxError))
      throw error
    throw new UsageError(
      'NO_NIGHT',
      `expected the status of a night in ${path}, found none: name its folder, or --database`,
      { cause: error },
    )
  }
}

const newestFolder = async (): Promise<string> => {
  const names = await readdir('results').catch(() => [])
  const nights = await Promise.all(
    names
      .filter(name => name.startsWith('night-'))
      .map(async name => {
        const path = join('results', name)
        const files = await readdir(path).catch((): string[] => [])
        return {
          path,
          stamp: name.slice(-24),
          isNight: files.includes(STATUS_FILE),
        }
      }),
  )
  const newest = nights
    .filter(({ isNight }) => isNight)
    .sort((a, b) => a.stamp.localeCompare(b.stamp))
    .at(-1)
  if (newest) return newest.path
  throw new UsageError(
    'NO_NIGHT',
    'expected the folder of a night below results/, found none: name it, or --database',
  )
}

const statusText = (status: NightStatus): string =>
  [
    headline(status),
    ...status.kernels
      .filter(({ state }) => state !== 'built')
      .map(
        ({ name, state, message }) =>
          `kernel ${name}: ${state}${message === null ? '' : ` (${message})`}`,
      ),
    ...status.workers.map(
      ({ name, state, silentSeconds, unfit }) =>
        `worker ${name}: ${state}${unfit === null ? '' : `, ${unfit}`}${state === 'lost' ? `, silent for ${duration(silentSeconds * 1000)}` : ''}`,
    ),
    ...status.running.map(
      ({ id, worker, reason, seconds }) =>
        `  ${id}  on ${worker}, ${reason === 'first' ? '' : `${reason}, `}${seconds} s`,
    ),
    ...status.failing.map(id => `FAIL  ${id}`),
    ...status.events
      .slice(-5)
      .map(({ at, text }) => `${at.slice(11, 19)}  ${text}`),
  ]
    .map(line => `${visible(line)}\n`)
    .join('')

const headline = ({
  night,
  name,
  state,
  elapsedSeconds,
  budgetSeconds,
  leaderSilentSeconds,
  cells,
  open,
  classes,
}: NightStatus): string =>
  [
    `night ${night} '${name}': ${state}`,
    `${cells - open} of ${cells} cases`,
    classCounts(classes),
    `${duration(elapsedSeconds * 1000)}${budgetSeconds === null ? '' : ` of ${duration(budgetSeconds * 1000)}`}`,
    ...(state === 'running' ? [leaderText(leaderSilentSeconds)] : []),
  ]
    .filter(Boolean)
    .join(', ')

const leaderText = (silentSeconds: number | null): string => {
  if (silentSeconds === null) return 'nobody leads it: start it again'
  return silentSeconds > LOST_SECONDS
    ? `nobody leads it since ${duration(silentSeconds * 1000)}: start it again`
    : ''
}
