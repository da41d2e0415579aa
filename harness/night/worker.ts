import { statfs } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import * as z from 'zod'
import { messageOf } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { FoundMachine } from '../board/index.ts'
import {
  type AttemptKey,
  BOOTS,
  type Finished,
  JOB,
  beginAttempt,
  finishAttempt,
  notOn,
  taskOn,
} from './attempts.ts'
import { type Bench, rigFault } from './bench.ts'
import type { NightPlace } from './database.ts'
import { tell } from './events.ts'
import { type PlaceName, hostOf, hostPlace } from './plan.ts'
import { Pulse } from './pulse.ts'
import { type Consumer, type Task, consume, freeForgotten } from './queue.ts'
import {
  BUILD_TASK,
  type BuildForAll,
  buildForNight,
  buildTaskOn,
  giveHostBack,
  homeTask,
  lookAtHost,
  lookTask,
} from './side-jobs.ts'
import type { Spool } from './spool.ts'
import {
  BEAT_SECONDS,
  type Offer,
  beat,
  holdAs,
  leave,
  register,
  release,
  returned,
} from './workers.ts'

/** A physical host that this worker can reach. */
export interface HostStation extends Bench {
  readonly name: string
  readonly labels: readonly string[]
  /** What it is, as it is found. */
  readonly look: () => Promise<FoundMachine>
  /** Back to what it boots by itself. */
  readonly letGo: () => Promise<void>
}

/** Guests of this machine. */
export interface QemuStation {
  readonly jobs: number
  readonly kvm: boolean
  readonly board: string
  readonly benches: Readonly<Record<PlaceName, Bench>>
}

export interface WorkerOptions {
  readonly place: NightPlace
  readonly name: string
  readonly machine: string
  readonly version: string
  readonly qemu: QemuStation | undefined
  readonly hosts: readonly HostStation[]
  /** Undefined: it builds none. */
  readonly build: BuildForAll | undefined
  /** Undefined: the database is a file of this process. */
  readonly spool: Spool | undefined
  /** Where it needs room. */
  readonly folder: string
  /** Bytes that must be free there; default: 512 MiB. */
  readonly room?: number
  readonly signal: AbortSignal
  readonly onLog: (kind: string, text: string) => void
}

/** Boots that lost so many workers are a fault of their own. */
const MOST_LOST = 3
const ROOM = 512 * MIB
/** Milliseconds for which the queue may take to end. */
const STOP = 10_000
/** Milliseconds between two tries to store a result. */
const RETRY = 1_000

const caseSchema = z.object({
  night: z.int(),
  cell: z.int(),
  number: z.int(),
})

/** Takes jobs by what this machine can do. */
export class NightWorker {
  readonly #options: WorkerOptions
  /** What takes jobs, with what makes another one of it. */
  readonly #consumers: {
    readonly consumer: Consumer
    readonly again: () => Promise<Consumer>
  }[] = []
  /** They take no more, and may have something under way. */
  readonly #retired: Consumer[] = []
  readonly #pulse: Pulse
  #refusing = true
  #unfit: string | null = null
  #underWay = 0
  #idle: (() => void) | undefined
  #ended: Promise<void> | undefined
  #drained: (() => void) | undefined
  /** Fulfilled once the database has asked it to take nothing more. */
  readonly askedToDrain = new Promise<void>(resolve => {
    this.#drained = resolve
  })

  private constructor(options: WorkerOptions) {
    this.#options = options
    const { place, name, onLog } = options
    this.#pulse = new Pulse({
      db: place.db,
      name: `worker ${name}`,
      seconds: BEAT_SECONDS,
      onLog,
      beat: () => this.#beat(),
    })
  }

  static async start(options: WorkerOptions): Promise<NightWorker> {
    const worker = new NightWorker(options)
    await worker.#storeLeft()
    await worker.#consume()
    await worker.#register()
    await worker.#measure()
    worker.#refusing = false
    worker.#pulse.start()
    return worker
  }

  /** Takes nothing more, and ends what it has. */
  async drain(): Promise<void> {
    this.#refusing = true
    if (this.#underWay > 0)
      await new Promise<void>(resolve => {
        this.#idle = resolve
      })
    await this.#end('')
  }

  /** After the signal: what it has is booted again by others. */
  async abandon(): Promise<void> {
    this.#refusing = true
    await this.#end('was stopped')
  }

  /** The first who ends it says how. */
  #end(what: string): Promise<void> {
    this.#ended ??= this.#endNow(what)
    return this.#ended
  }

  async #endNow(what: string): Promise<void> {
    const { place, name, hosts, onLog } = this.#options
    await Promise.all(
      hosts.map(host =>
        host.letGo().catch((error: unknown) => {
          onLog('host', messageOf(error))
        }),
      ),
    )
    const patience = new AbortController()
    await Promise.race([
      Promise.allSettled(this.#all.map(consumer => consumer.stop())),
      // One that has stalled does not end either.
      setTimeout(STOP, undefined, { signal: patience.signal }),
    ])
    patience.abort()
    try {
      await this.#pulse.stop()
      await this.#giveUp(what)
      await leave(place.db, name)
    } catch (error) {
      // The database is away: others see that we are silent.
      onLog('database', messageOf(error))
    }
  }

  async #giveUp(what: string): Promise<void> {
    const { place, name } = this.#options
    await place.db.transaction().execute(trx =>
      release(trx, {
        name,
        pools: this.#pools,
        what,
        isLoss: false,
      }),
    )
  }

  async #consume(): Promise<void> {
    const { place, name, machine, qemu, hosts, build, signal, onLog } =
      this.#options
    const add = async (
      tasks: Readonly<Record<string, Task>>,
      concurrency: number,
    ): Promise<void> => {
      const again = (): Promise<Consumer> =>
        consume(place.pool, {
          tasks,
          concurrency,
          refused: () => this.#refused(),
          all: JOB,
          onError: text => {
            onLog('queue', text)
          },
        })
      this.#consumers.push({ consumer: await again(), again })
    }
    if (qemu) {
      const boots = Object.entries(qemu.benches).map(
        ([at, bench]) => [at, this.#bootTask(bench)] as const,
      )
      await add(
        Object.fromEntries(
          boots.flatMap(([at, task]) => [
            [at, task],
            [taskOn(at, name), task],
          ]),
        ),
        qemu.jobs,
      )
    }
    // A host does one thing at a time: its jobs are a queue of their own.
    if (hosts.length > 0)
      await add(
        Object.fromEntries(
          hosts.flatMap(host => [
            [hostPlace(host.name), this.#bootTask(host)],
            [
              lookTask(host.name),
              this.#counted(payload => lookAtHost(place.db, host, payload)),
            ],
            [
              homeTask(host.name),
              this.#counted(payload => giveHostBack(place.db, host, payload)),
            ],
          ]),
        ),
        hosts.length,
      )
    if (build) {
      const task = (only: string | null): Task =>
        this.#counted(payload =>
          buildForNight(
            place.db,
            { build, worker: name, machine: only, signal },
            payload,
          ),
        )
      await add(
        { [BUILD_TASK]: task(null), [buildTaskOn(machine)]: task(machine) },
        1,
      )
    }
  }

  get #all(): Consumer[] {
    return [
      ...this.#consumers.map(({ consumer }) => consumer),
      ...this.#retired,
    ]
  }

  get #pools(): string[] {
    return this.#all.map(({ pool }) => pool)
  }

  /** What does not ask for jobs any more is replaced. */
  async #replaceStalled(): Promise<void> {
    const { place, name, onLog } = this.#options
    const stalled = this.#consumers.filter(({ consumer }) =>
      consumer.isStalled(),
    )
    for (const one of stalled) {
      one.consumer.retire()
      this.#retired.push(one.consumer)
      const { again } = one
      this.#consumers.splice(this.#consumers.indexOf(one), 1, {
        consumer: await again(),
        again,
      })
      onLog('queue', `${name}: what took jobs has stalled, and is replaced`)
    }
    if (stalled.length > 0) await holdAs(place.db, name, this.#pools)
  }

  #refused(): string[] {
    if (this.#refusing || this.#options.signal.aborted) return [JOB]
    const others = [notOn(this.#options.name)]
    return this.#unfit === null ? others : [...others, BOOTS]
  }

  async #register(): Promise<void> {
    const { place, name, machine, version, qemu, hosts, build } = this.#options
    const offer: Offer = {
      machine,
      qemu: qemu ? { jobs: qemu.jobs, kvm: qemu.kvm, board: qemu.board } : null,
      hosts: hosts.map(host => ({ name: host.name, labels: [...host.labels] })),
      builds: build !== undefined,
      version,
    }
    await register(place.db, {
      name,
      pools: this.#pools,
      offer,
      process: `${machine}, process ${process.pid}`,
    })
  }

  async #beat(): Promise<{ clock: number }> {
    const { place, name } = this.#options
    await this.#measure()
    const sign = await beat(place.db, name, this.#unfit)
    if (!sign || sign.state === 'gone') {
      await this.#register()
      return this.#beat()
    }
    if (sign.state === 'lost') await returned(place.db, name)
    await this.#replaceStalled()
    const freed = await freeForgotten(place.db, this.#all)
    if (freed > 0)
      this.#options.onLog('queue', `${freed} jobs were held by nobody`)
    if (sign.state === 'draining') this.#drained?.()
    return sign
  }

  /** A boot needs room for its console, and a kernel for its copy. */
  async #measure(): Promise<void> {
    const { folder, room = ROOM, place, name, onLog } = this.#options
    const { bavail, bsize } = await statfs(folder)
    const isFull = bavail * bsize < room
    if (isFull === (this.#unfit !== null)) return
    this.#unfit = isFull
      ? `less than ${Math.round(room / MIB)} MiB are free in ${folder}`
      : null
    const text = isFull
      ? `worker ${name} takes no cases: ${this.#unfit ?? ''}`
      : `worker ${name} has room again, and takes cases`
    onLog('disk', text)
    await tell(place.db, null, 'disk', text)
  }

  #counted(task: Task): Task {
    return async payload => {
      this.#underWay++
      try {
        await task(payload)
      } finally {
        this.#underWay--
        if (this.#underWay === 0) this.#idle?.()
      }
    }
  }

  #bootTask(bench: Bench): Task {
    return this.#counted(async payload => {
      const attempt = caseSchema.parse(payload)
      const { place, name, signal } = this.#options
      const begun = await beginAttempt(place.db, attempt, name)
      if (!begun) return
      const finished =
        begun.lost >= MOST_LOST
          ? rigFault(
              hostOf(begun.place) ?? name,
              `${begun.lost} workers died while they booted it: it is not tried again`,
            )
          : await bench.boot({ attempt, begun }, signal)
      await this.#store(attempt, finished)
    })
  }

  /** Until it is stored: what was judged must not be lost. */
  async #store(attempt: AttemptKey, finished: Finished): Promise<void> {
    const { place, name, spool, signal, onLog } = this.#options
    await spool?.put({ attempt, finished }).catch((error: unknown) => {
      onLog('disk', `a result is kept in memory alone: ${messageOf(error)}`)
    })
    for (let tries = 0; ; tries++) {
      try {
        if (!(await finishAttempt(place.db, attempt, finished)))
          onLog('worker', `${name}: another result of this boot was first`)
        await spool?.drop(attempt)
        return
      } catch (error) {
        if (tries === 0) onLog('database', messageOf(error))
        // Who ends leaves it in the spool.
        await setTimeout(RETRY, undefined, { signal })
      }
    }
  }

  /** Results of an earlier worker. */
  async #storeLeft(): Promise<void> {
    const { place, spool, onLog } = this.#options
    for (const { attempt, finished } of (await spool?.left()) ?? []) {
      const isStored = await finishAttempt(place.db, attempt, finished)
      await spool?.drop(attempt)
      onLog(
        'worker',
        `a result that was left is ${isStored ? 'stored' : 'not wanted any more'}`,
      )
    }
  }
}
