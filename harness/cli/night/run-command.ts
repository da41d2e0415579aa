import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { InfraError, UsageError, messageOf } from '../../base/errors.ts'
import {
  checkOutputFolder,
  ensureFolder,
  missingFolders,
  removeIfEmpty,
  writeWhole,
} from '../../base/output.ts'
import { usualTimes } from '../../history/first-bad.ts'
import { shownPlace } from '../../history/postgres.ts'
import { baselineRun } from '../../history/store.ts'
import { type NightPlace, withNights } from '../../night/database.ts'
import { pruneKernels } from '../../night/kernel-copies.ts'
import { Leader } from '../../night/leader.ts'
import { News } from '../../night/news.ts'
import {
  type Night,
  closeNight,
  endNight,
  leadNight,
  leaveNight,
  nightAt,
  pruneNights,
} from '../../night/nights.ts'
import { isOutage, throughOutages } from '../../night/outage.ts'
import { type NightFile, readNightFile } from '../../night/plan-file.ts'
import type { Plan } from '../../night/plan.ts'
import {
  type PrepareOptions,
  type Prepared,
  beginNight,
  prepareNight,
  wantKernels,
} from '../../night/prepare.ts'
import { Pulse } from '../../night/pulse.ts'
import { sendHome } from '../../night/send-home.ts'
import { Spool } from '../../night/spool.ts'
import { statusOf } from '../../night/status.ts'
import { NightWorker } from '../../night/worker.ts'
import { BEAT_SECONDS, LOST_SECONDS } from '../../night/workers.ts'
import { shellLine } from '../../base/shell.ts'
import { Workspace } from '../../run/workspace.ts'
import { boardHere } from '../board-here.ts'
import { inHistory } from '../history-place.ts'
import { INTERRUPTED, onInterrupt } from '../interrupt.ts'
import { programName } from '../program-name.ts'
import { VERSION } from '../version.ts'
import { type Log, type LogForm, logTo } from './log.ts'
import { serveMetrics } from './metrics.ts'
import { checkMorningFiles, writeMorning } from './morning-files.ts'
import {
  type PlaceFlags,
  nightsPlace,
  onWait,
  serverOf,
  spoolFolder,
} from './place.ts'
import { planLine, planText, progressTeller } from './run-text.ts'
import { type StationFlags, openStations, workerName } from './stations.ts'
import { STATUS_FILE, chooseNight } from './which-night.ts'

export interface NightRunFlags extends PlaceFlags, StationFlags {
  readonly out?: string
  /** False: others boot, and this process leads. */
  readonly worker: boolean
  readonly history?: string
  readonly dryRun?: boolean
  readonly patience: number
  readonly log: LogForm
  readonly metrics?: { readonly host: string; readonly port: number }
  readonly origin?: string
}

/** `tdxrig night run`: a whole night. @returns the exit code */
export const nightRunCommand = async (
  path: string,
  flags: NightRunFlags,
): Promise<number> => {
  const file = await readNightFile(path)
  const server = serverOf(flags)
  if (server === undefined && !flags.worker)
    throw new UsageError(
      'NIGHT',
      '--no-worker leaves nobody to boot: expected --database with workers on it',
    )
  const folder = resolve(flags.out ?? newFolder(file.name))
  const missing = await missingFolders(folder)
  await checkOutputFolder('--out', folder)
  await checkMorningFiles(folder)
  const log = await logTo(flags.log)
  const { signal } = onInterrupt()
  const led = { file, folder, server, flags, signal, log }
  try {
    return await openedNights(led)
  } catch (error) {
    if (!signal.aborted) throw error
    log('leader', `to go on: ${againLine()}`)
    return INTERRUPTED
  } finally {
    await removeIfEmpty(missing)
  }
}

/** A server that is away when the night is to begin is waited for as well. */
const openedNights = async (led: Omit<Led, 'place'>): Promise<number> => {
  const { flags, signal, log } = led
  const until = performance.now() + flags.patience * 1000
  const reached = { once: false }
  for (;;) {
    try {
      return await withNights(
        nightsPlace(flags),
        { onWait, connections: 12 + (flags.jobs ?? 0) },
        place => {
          reached.once = true
          return lead({ ...led, place })
        },
      )
    } catch (error) {
      const isAway = error instanceof InfraError && isOutage(error.cause)
      if (reached.once || !isAway || performance.now() > until) throw error
      signal.throwIfAborted()
      log('database', `${error.message}; waiting for it`)
      await setTimeout(RECONNECT, undefined, { signal })
    }
  }
}

/** Milliseconds between two tries to reach a server. */
const RECONNECT = 5_000

/** The command as it was given, without passwords. */
const againLine = (): string =>
  shellLine([programName(), ...process.argv.slice(2).map(shownPlace)])

const newFolder = (name: string): string =>
  join(
    'results',
    `night-${name}-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`,
  )

interface Led {
  readonly place: NightPlace
  readonly file: NightFile
  readonly folder: string
  /** Undefined: the database is in the folder. */
  readonly server: string | undefined
  readonly flags: NightRunFlags
  readonly signal: AbortSignal
  readonly log: Log
}

const lead = async (led: Led): Promise<number> => {
  const { place, file, flags, log, server } = led
  await using workspace = Workspace.create()
  await using news = new News(place.pool)
  const token = randomUUID()
  const { night, folder } = await chooseNight(
    place.db,
    {
      file,
      folder: led.folder,
      isGiven: flags.out !== undefined,
      isShared: server !== undefined,
      dryRun: flags.dryRun === true,
      log,
    },
    token,
  )
  if (flags.dryRun !== true) {
    await statusWriter(night.id, { place, folder, log })()
    log(
      'leader',
      `night ${night.id}: reports go to ${relative(process.cwd(), folder) || '.'}`,
    )
  }
  const taken = new AbortController()
  const signal = AbortSignal.any([led.signal, taken.signal])
  const through = { signal, onLog: log }
  const pulse = new Pulse({
    db: place.db,
    name: 'the night',
    seconds: BEAT_SECONDS,
    onLog: log,
    beat: async () => {
      const clock = await leadNight(place.db, night.id, token)
      if (clock !== undefined) return { clock }
      const error = new InfraError(
        'NIGHT_LED',
        `night ${night.id} of '${file.name}' is led by another process now: this one was not heard of for ${LOST_SECONDS} s, and ends`,
      )
      taken.abort(error)
      throw error
    },
  })
  await using metrics =
    flags.metrics && (await serveMetrics(place.db, flags.metrics))
  if (metrics) log('metrics', `at ${metrics.url}`)
  pulse.start()
  let worker: NightWorker | undefined
  let { plan } = night
  let isBegun = plan !== undefined
  // Others on this machine are a worker of its own, and other nights.
  const name = `${workerName()}+${file.name}`
  try {
    if (flags.worker)
      worker = await NightWorker.start({
        place,
        name,
        machine: hostname(),
        version: VERSION,
        ...(await openStations(flags, {
          name,
          place,
          workspace,
          signal,
          log,
          isShared: server !== undefined,
        })),
        spool:
          server === undefined
            ? undefined
            : new Spool(spoolFolder(server, name)),
        folder: workspace.path,
        signal,
        onLog: log,
      })
    const options: PrepareOptions = {
      place,
      night: night.id,
      turn: night.turn,
      file,
      board: await boardHere(),
      machine: hostname(),
      estimates: await estimatesOf(file, led),
      news,
      signal,
      onLog: log,
      patienceMs: flags.patience * 1000,
      isAlone: server === undefined,
    }
    signal.throwIfAborted()
    if (plan)
      await throughOutages(through, () =>
        wantKernels(place, night.id, night.plan!),
      )
    else {
      const prepared = await planned(options, flags)
      if (prepared === undefined) return 0
      ;({ plan } = prepared)
      log('night', planLine(prepared))
    }
    isBegun = true
    return await work({ ...led, folder, signal, night, plan, news })
  } catch (error) {
    if (!isBegun && !signal.aborted)
      await endNight(place.db, night.id, 'stopped').catch(() => undefined)
    throw error
  } finally {
    await pulse.stop()
    await (signal.aborted ? worker?.abandon() : worker?.drain())
    if (flags.dryRun === true) await forget(place, night.id)
    // One that has lost its lead leads nothing that it could leave.
    else
      await leaveNight(place.db, night.id, token).catch((error: unknown) => {
        log('database', messageOf(error))
      })
  }
}

/**
 * Plans a night, and begins it. Hosts that were looked at for one that is not
 * begun are given back.
 *
 * @returns undefined after --dry-run
 */
const planned = async (
  options: PrepareOptions,
  { dryRun }: NightRunFlags,
): Promise<Prepared | undefined> => {
  const { signal } = options
  let isBegun = false
  try {
    const prepared = await throughOutages(options, () => prepareNight(options))
    if (dryRun === true) {
      process.stdout.write(planText(prepared))
      return undefined
    }
    await throughOutages(options, () => beginNight(options, prepared))
    isBegun = true
    return prepared
  } finally {
    // Who is interrupted goes on with it, or lets the hosts go by themselves.
    if (!isBegun && !signal.aborted)
      await sendHome(options).catch((error: unknown) => {
        options.onLog('host', messageOf(error))
      })
  }
}

const forget = async ({ db }: NightPlace, id: number): Promise<void> => {
  await db.deleteFrom('nights').where('id', '=', id).execute()
}

/** @throws UsageError for a release that is no baseline of the history */
const estimatesOf = (
  { label, release }: NightFile,
  { flags, server }: Led,
): Promise<ReadonlyMap<string, number>> =>
  inHistory(historyOf(flags, server), async db => {
    if (release !== undefined) await baselineRun(db, release)
    return usualTimes(db, label)
  })

/** Nights on a server have their history there, unless told otherwise. */
const historyOf = (
  { history }: NightRunFlags,
  server: string | undefined,
): { readonly history?: string | undefined } => ({
  history: history ?? process.env['TDXRIG_HISTORY'] ?? server,
})

/** Others cannot look into the database while this process has it. */
const statusWriter =
  (
    night: number,
    { place, folder, log }: Pick<Led, 'place' | 'folder' | 'log'>,
  ) =>
  async (): Promise<void> => {
    const now = await nightAt(place.db, night)
    await writeWhole(
      join(folder, STATUS_FILE),
      `${JSON.stringify(await statusOf(place.db, now))}\n`,
    ).catch((error: unknown) => {
      log('disk', messageOf(error))
    })
  }

const work = async ({
  place,
  folder,
  night,
  plan,
  news,
  server,
  flags,
  signal,
  log,
}: Led & {
  readonly night: Night
  readonly plan: Plan
  readonly news: News
}): Promise<number> => {
  await ensureFolder(folder)
  const told = progressTeller(log)
  const writeStatus = statusWriter(night.id, { place, folder, log })
  const through = { signal, onLog: log }
  await Leader.lead({
    place,
    night: night.id,
    plan,
    news,
    signal,
    onLog: log,
    patienceMs: flags.patience * 1000,
    onProgress: async progress => {
      if (told(progress)) await writeStatus()
    },
  })
  const away = await throughOutages(through, () =>
    sendHome({
      place,
      night: night.id,
      news,
      signal,
      patienceMs: flags.patience * 1000,
    }),
  )
  if (away.length > 0)
    log('host', `not seen to be given back: ${away.join(', ')}`)
  const ended = await throughOutages(through, async () => {
    await closeNight(place.db, night.id)
    return nightAt(place.db, night.id)
  })
  const { text, code } = await writeMorning({
    db: place.db,
    night: ended,
    plan,
    folder,
    history: historyOf(flags, server),
    origin: flags.origin,
    signal,
    log,
  })
  process.stdout.write(text)
  await throughOutages(through, async () => {
    await endNight(place.db, night.id, 'done')
    await writeStatus()
    await pruneNights(place.db, {
      name: plan.name,
      keep: plan.keep.nights,
      days: plan.keep.days,
    })
    await pruneKernels(place.db, plan.keep.days ?? KERNEL_DAYS)
  })
  return code
}

/** Copies of kernels that no night has used for so long. */
const KERNEL_DAYS = 30
