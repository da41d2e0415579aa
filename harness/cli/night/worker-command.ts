import { hostname } from 'node:os'
import { setTimeout } from 'node:timers/promises'
import { InfraError, UsageError } from '../../base/errors.ts'
import { withNights } from '../../night/database.ts'
import { Spool } from '../../night/spool.ts'
import { NightWorker } from '../../night/worker.ts'
import { askToDrain, workersOf } from '../../night/workers.ts'
import { Workspace } from '../../run/workspace.ts'
import { INTERRUPTED } from '../interrupt.ts'
import { VERSION } from '../version.ts'
import { type LogForm, logTo } from './log.ts'
import { serveMetrics } from './metrics.ts'
import { type PlaceFlags, neededServer, onWait, spoolFolder } from './place.ts'
import { type StationFlags, openStations, workerName } from './stations.ts'

export interface WorkerFlags extends PlaceFlags, StationFlags {
  readonly name?: string
  /** Names of workers, or true: the one of this machine. */
  readonly drain?: string | true
  readonly log: LogForm
  readonly metrics?: { readonly host: string; readonly port: number }
}

/** `tdxrig worker`: takes what this machine can do, until it is told to stop. */
export const workerCommand = async (flags: WorkerFlags): Promise<number> => {
  const server = neededServer(flags)
  const name = flags.name ?? workerName()
  if (flags.drain !== undefined)
    return drainWorker(server, flags.drain === true ? name : flags.drain)
  const log = await logTo(flags.log)
  const stop = stopSignals()
  return withNights(
    server,
    {
      onWait,
      connections: 12 + (flags.jobs ?? 0) + 2 * (flags.host?.length ?? 0),
    },
    async place => {
      await using workspace = Workspace.create()
      await using metrics =
        flags.metrics && (await serveMetrics(place.db, flags.metrics))
      if (metrics) log('metrics', `at ${metrics.url}`)
      const stations = await openStations(flags, {
        name,
        place,
        workspace,
        signal: stop.signal,
        log,
        isShared: true,
      })
      if (!stations.qemu && stations.hosts.length === 0 && !stations.build)
        throw new UsageError(
          'WORKER',
          'this worker would do nothing: expected QEMU, --host, or builds',
        )
      const worker = await NightWorker.start({
        ...stations,
        place,
        name,
        machine: hostname(),
        version: VERSION,
        spool: new Spool(spoolFolder(server, name)),
        folder: workspace.path,
        signal: stop.signal,
        onLog: log,
      })
      log(
        'worker',
        `${name} is ready: ${[
          ...(stations.qemu ? [`${stations.qemu.jobs} guests at a time`] : []),
          ...stations.hosts.map(host => `host ${host.name}`),
          ...(stations.build ? ['builds'] : []),
        ].join(', ')}`,
      )
      const drained = Promise.race([stop.asked, worker.askedToDrain]).then(
        () => {
          log('worker', `${name} takes nothing more, and ends what it has`)
          return worker.drain()
        },
      )
      const aborted = stop.aborted.then(() => worker.abandon())
      await Promise.race([drained, aborted])
      return stop.signal.aborted ? INTERRUPTED : 0
    },
  )
}

interface Stop {
  /** What is under way is ended at once. */
  readonly signal: AbortSignal
  readonly aborted: Promise<void>
  /** Either of both. */
  readonly asked: Promise<void>
}

/**
 * SIGTERM, as service managers send it, ends after what is under way; SIGINT
 * and a second SIGTERM end at once: what is under way is booted by others.
 */
const stopSignals = (): Stop => {
  const controller = new AbortController()
  const { signal } = controller
  const aborted = new Promise<void>(resolve => {
    signal.addEventListener('abort', () => {
      resolve()
    })
  })
  let asks = 0
  const asked = new Promise<void>(resolve => {
    const stopNow = (): void => {
      if (signal.aborted) process.exit(INTERRUPTED)
      controller.abort(new Error('interrupted'))
      resolve()
    }
    process.on('SIGINT', stopNow)
    process.on('SIGHUP', stopNow)
    process.on('SIGTERM', () => {
      if (asks++ > 0) stopNow()
      else resolve()
    })
  })
  return { signal, aborted, asked }
}

/** Waits until it is gone: then its machine can be rebooted. */
const drainWorker = (server: string, name: string): Promise<number> =>
  withNights(server, { onWait, connections: 2 }, async ({ db }) => {
    const asked = await askToDrain(db, [name])
    if (asked.length === 0) {
      const there = (await workersOf(db)).filter(({ state }) => state === 'up')
      throw new UsageError(
        'NO_WORKER',
        `expected a worker '${name}', found ${there.map(one => one.name).join(', ') || 'none'}`,
      )
    }
    for (;;) {
      const one = (await workersOf(db)).find(worker => worker.name === name)
      if (!one || one.state === 'gone') break
      if (one.state === 'lost')
        throw new InfraError(
          'WORKER_LOST',
          `worker ${name} was lost while it ended what it had: look at its machine`,
        )
      await setTimeout(1_000)
    }
    process.stdout.write(`worker ${name} has ended what it had\n`)
    return 0
  })
