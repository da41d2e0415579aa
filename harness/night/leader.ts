import { setTimeout } from 'node:timers/promises'
import { sql } from 'kysely'
import {
  type AttemptState,
  JOB,
  type Order,
  attemptsAt,
  attemptsOf,
  openAttempts,
  queueAttempts,
  withdrawAttempts,
} from './attempts.ts'
import type { NightPlace } from './database.ts'
import {
  type CellClass,
  type Step,
  type Tried,
  cutShort,
  decide,
} from './decide.ts'
import { tell } from './events.ts'
import { Floor } from './floor.ts'
import {
  type KernelState,
  cellsOf,
  classifyCells,
  kernelsOf,
} from './nights.ts'
import { Pending, type Ready } from './pending.ts'
import { type Plan, type PlaceName, hostOf } from './plan.ts'
import { addJobs } from './queue.ts'
import { HOME, homeTask } from './worker.ts'
import { workersOf } from './workers.ts'
import type { News } from './news.ts'

export interface LeaderOptions {
  readonly place: NightPlace
  readonly night: number
  readonly plan: Plan
  readonly news: News
  readonly signal: AbortSignal
  readonly onLog: (kind: string, text: string) => void
  /** Told after each step. */
  readonly onProgress: (progress: NightProgress) => void | Promise<void>
  /** Milliseconds for which a machine that is away is waited for. */
  readonly patienceMs: number
}

/** How far a night is. */
export interface NightProgress {
  readonly cells: number
  readonly open: number
  readonly underWay: number
  readonly classes: Readonly<Partial<Record<CellClass, number>>>
}

interface CellState {
  readonly cell: number
  readonly id: string
  readonly kernel: string
  readonly places: readonly PlaceName[]
  readonly estimateMs: number
  readonly repeat: number
  tried: Tried[]
  /** Number of the boot that is queued or under way. */
  underWay: number | undefined
  class: CellClass | null
}

/** Faults of a host in a row, before it is given no further case. */
const ASIDE = 3
/** Jobs that wait for a slot: nobody waits for who leads the night. */
const SPARE = 2
/** Milliseconds between two looks, where no notice comes. */
const LOOK = 1_000

/**
 * Leads a night: gives each place what it is to boot next, decides what comes
 * of a cell, and ends when all are settled or the time is over. All it knows
 * is in the database: another one goes on where it was.
 */
export class Leader {
  readonly #options: LeaderOptions
  readonly #cells = new Map<number, CellState>()
  readonly #pending = new Pending()
  /** Built, or known not to be. */
  readonly #kernels = new Set<string>()
  /** By place, and since when nobody offers one. */
  readonly #underWay = new Map<PlaceName, number>()
  readonly #awaySince = new Map<number, number>()
  readonly #aside = new Set<string>()
  readonly #hostErrors = new Map<string, number>()
  readonly #settled = new Map<
    number,
    { readonly class: CellClass; readonly note: string | null }
  >()
  #floor = new Floor([], new Set())
  #isOver = false

  constructor(options: LeaderOptions) {
    this.#options = options
  }

  /** @throws what the signal says */
  async run(): Promise<void> {
    const { signal, news } = this.#options
    await this.#load()
    for (;;) {
      signal.throwIfAborted()
      const seen = news.count
      try {
        if (await this.#step()) return
      } catch (error) {
        signal.throwIfAborted()
        // The database is away: what was under way is looked up again.
        this.#options.onLog('database', String(error))
        await setTimeout(LOOK, undefined, { signal })
        continue
      }
      await news.after(seen, LOOK, signal)
    }
  }

  async #load(): Promise<void> {
    const { place, night } = this.#options
    const attempts = new Map<number, AttemptState[]>()
    for (const attempt of await attemptsOf(place.db, night))
      attempts.set(attempt.cell, [
        ...(attempts.get(attempt.cell) ?? []),
        attempt,
      ])
    for (const row of await cellsOf(place.db, night)) {
      const its = attempts.get(row.cell) ?? []
      const open = its.find(({ state }) => state !== 'done')
      const state: CellState = {
        cell: row.cell,
        id: row.id,
        kernel: row.kernel,
        places: JSON.parse(row.places) as PlaceName[],
        estimateMs: row.estimate_ms,
        repeat: row.repeat,
        tried: its.flatMap(triedOf),
        underWay: open?.number,
        class: row.class,
      }
      this.#cells.set(row.cell, state)
      if (open) this.#count(open.place, 1)
    }
    const hosts = await place.db
      .selectFrom('night_hosts')
      .select(['host', 'aside'])
      .where('night_id', '=', night)
      .where('aside', 'is not', null)
      .execute()
    for (const { host } of hosts) this.#aside.add(host)
  }

  /** @returns whether all is over */
  async #step(): Promise<boolean> {
    const { place, night, onProgress } = this.#options
    this.#floor = new Floor(await workersOf(place.db), this.#aside)
    await this.#collect()
    this.#readyKernels(await kernelsOf(place.db, night))
    if (!this.#isOver && (await this.#timeIsOver())) await this.#close()
    if (!this.#isOver) {
      await this.#giveUpAbsent()
      await this.#feed()
    }
    await classifyCells(place.db, night, this.#settled)
    this.#settled.clear()
    const progress = this.#progress()
    await onProgress(progress)
    return progress.open === 0
  }

  /** Boots that are over since the last look. */
  async #collect(): Promise<void> {
    const { place, night } = this.#options
    const underWay = [...this.#cells.values()].filter(
      one => one.underWay !== undefined,
    )
    if (underWay.length === 0) return
    const open = await openAttempts(place.db, night)
    const isOpen = new Set(open.map(({ cell, number }) => `${cell} ${number}`))
    const over = underWay.filter(
      one => !isOpen.has(`${one.cell} ${one.underWay ?? 0}`),
    )
    const attempts = await attemptsAt(
      place.db,
      night,
      over.map(({ cell, underWay: number }) => ({ cell, number: number! })),
    )
    for (const attempt of attempts) {
      const state = this.#cells.get(attempt.cell)!
      state.underWay = undefined
      this.#count(attempt.place, -1)
      state.tried = [...state.tried, ...triedOf(attempt)]
      await this.#watchHost(attempt)
      this.#decide(state)
    }
    await this.#reroute(open)
  }

  /** A boot that waits for a machine which is gone goes elsewhere. */
  async #reroute(open: readonly AttemptState[]): Promise<void> {
    const { place, night } = this.#options
    const stuck = open.filter(
      ({ state, place: at, only_machine: only, not_machine: not }) => {
        if (state !== 'queued') return false
        if (only !== null && hostOf(at) === undefined)
          return !this.#floor.isThere(only, at)
        if (not !== null && hostOf(at) === undefined)
          return !this.#floor.hasOther(not, [at])
        return hostOf(at) !== undefined && !this.#floor.slots.has(at)
      },
    )
    const taken = await withdrawAttempts(
      place.db,
      stuck.map(({ cell, number }) => ({ night, cell, number })),
    )
    for (const { cell, number } of taken) {
      const state = this.#cells.get(cell)!
      this.#count(
        open.find(one => one.cell === cell && one.number === number)!.place,
        -1,
      )
      state.underWay = undefined
      this.#decide(state)
    }
  }

  /** A host that fails again and again is given nothing more. */
  async #watchHost({
    place: at,
    verdict,
    message,
  }: AttemptState): Promise<void> {
    const host = hostOf(at)
    if (host === undefined) return
    const errors =
      verdict === 'error' ? (this.#hostErrors.get(host) ?? 0) + 1 : 0
    this.#hostErrors.set(host, errors)
    if (errors < ASIDE || this.#aside.has(host)) return
    this.#aside.add(host)
    const { place, night, onLog } = this.#options
    const why = `${errors} faults in a row, the last: ${message ?? 'no message'}`
    await place.db
      .updateTable('night_hosts')
      .set({ errors, aside: why })
      .where('night_id', '=', night)
      .where('host', '=', host)
      .execute()
    const text = `host ${host} is given no further case: ${why}`
    onLog('host', text)
    await tell(place.db, night, 'host', text)
    this.#floor = new Floor(await workersOf(place.db), this.#aside)
  }

  #readyKernels(kernels: readonly KernelState[]): void {
    for (const { name, state, message } of kernels) {
      if (this.#kernels.has(name) || (state !== 'built' && state !== 'failed'))
        continue
      this.#kernels.add(name)
      const its = [...this.#cells.values()].filter(
        one =>
          one.kernel === name &&
          one.class === null &&
          one.underWay === undefined,
      )
      if (state === 'built') {
        const first = its.filter(({ tried }) => tried.length === 0)
        this.#pending.addFirst(
          first.map(one => ready(one, { kind: 'boot', reason: 'first' })),
        )
        for (const one of its) if (one.tried.length > 0) this.#decide(one)
      } else
        for (const one of its)
          this.#settle(
            one,
            'error',
            `the kernel was not built: ${message ?? ''}`,
          )
    }
  }

  #decide(state: CellState): void {
    if (state.class !== null) return
    if (this.#isOver) {
      this.#settle(state, this.#lastClass(state), OVER)
      return
    }
    const step = this.#next(state)
    if (step.kind === 'settled') this.#settle(state, step.class, null)
    else this.#pending.addAgain(ready(state, step))
  }

  #next({ tried, repeat, places }: CellState): Step {
    return decide(tried, {
      policy: { ...this.#options.plan.policy, repeat },
      hasOther: machine => this.#floor.hasOther(machine, places),
      isThere: machine =>
        places.some(place => this.#floor.isThere(machine, place)),
    })
  }

  /** What is called a failure although the night ends is one that is proven. */
  #lastClass(state: CellState): CellClass {
    const step = this.#next(state)
    return step.kind === 'settled' ? step.class : cutShort(state.tried)
  }

  #settle(state: CellState, is: CellClass, note: string | null): void {
    state.class = is
    this.#settled.set(state.cell, { class: is, note })
  }

  async #timeIsOver(): Promise<boolean> {
    const { place, night, plan } = this.#options
    if (plan.budgetMs === null) return false
    const { rows } = await sql<{ ms: number }>`
      select extract(epoch from clock_timestamp() - started)::float * 1000 as ms
      from nights where id = ${night}`.execute(place.db)
    return (rows[0]?.ms ?? 0) > plan.budgetMs
  }

  /** Nothing more is begun; what is under way is waited for. */
  async #close(): Promise<void> {
    const { place, night, onLog } = this.#options
    this.#isOver = true
    const open = await openAttempts(place.db, night)
    const taken = await withdrawAttempts(
      place.db,
      open
        .filter(({ state }) => state === 'queued')
        .map(({ cell, number }) => ({ night, cell, number })),
    )
    for (const { cell } of taken) this.#cells.get(cell)!.underWay = undefined
    let count = 0
    for (const state of this.#cells.values()) {
      if (state.class !== null || state.underWay !== undefined) continue
      this.#settle(state, this.#lastClass(state), OVER)
      count++
    }
    const text = `the time of the night is over: ${count} cases were open`
    onLog('budget', text)
    await tell(place.db, night, 'budget', text)
  }

  /** Nobody offers what a cell needs: after a while it is not waited for. */
  async #giveUpAbsent(): Promise<void> {
    const { place, night, patienceMs, onLog } = this.#options
    const canBoot = (one: Ready): boolean =>
      one.places.some(at => this.#floor.slots.has(at))
    const absent = this.#pending.withoutPlace(canBoot)
    const now = performance.now()
    const given: string[] = []
    for (const one of absent) {
      const since = this.#awaySince.get(one.cell) ?? now
      this.#awaySince.set(one.cell, since)
      const state = this.#cells.get(one.cell)!
      // A host that was put aside does not come back.
      const isHopeless = one.places.every(at => {
        const host = hostOf(at)
        return host !== undefined && this.#floor.isAside(host)
      })
      if (isHopeless || now - since > patienceMs) {
        this.#settle(
          state,
          state.tried.length === 0 && !isHopeless
            ? 'not run'
            : this.#given(state),
          isHopeless
            ? `no host is left that can boot it: ${one.places.join(', ')}`
            : `no worker was there that offers ${one.places.join(' or ')}`,
        )
        given.push(state.id)
      } else if (one.step.reason === 'first') this.#pending.addFirst([one])
      else this.#pending.addAgain(one)
    }
    if (given.length === 0) return
    const text = `nobody is there to boot ${given.length === 1 ? given[0] : `${given.length} cases`}`
    onLog('worker', text)
    await tell(place.db, night, 'worker', text)
  }

  #given(state: CellState): CellClass {
    const last = cutShort(state.tried)
    return last === 'not run' ? 'error' : last
  }

  /** Each place is given as much as it can boot, and a little more. */
  async #feed(): Promise<void> {
    const { place, night } = this.#options
    const orders: Order[] = []
    for (const [at, slots] of this.#floor.slots) {
      const wanted = slots + (hostOf(at) === undefined ? slots : 0) + SPARE
      for (let count = this.#underWay.get(at) ?? 0; count < wanted; count++) {
        const one = this.#pending.take(at)
        if (!one) break
        const state = this.#cells.get(one.cell)!
        state.underWay = state.tried.length + 1
        this.#awaySince.delete(one.cell)
        this.#count(at, 1)
        orders.push({
          night,
          cell: one.cell,
          number: state.underWay,
          place: at,
          step: one.step,
          priority: priorityOf(one),
        })
      }
    }
    await queueAttempts(place.db, orders)
  }

  #count(place: PlaceName, by: number): void {
    this.#underWay.set(place, (this.#underWay.get(place) ?? 0) + by)
  }

  #progress(): NightProgress {
    const states = [...this.#cells.values()]
    const classes: Partial<Record<CellClass, number>> = {}
    for (const { class: is } of states)
      if (is !== null) classes[is] = (classes[is] ?? 0) + 1
    return {
      cells: states.length,
      open: states.filter(one => one.class === null).length,
      underWay: states.filter(one => one.underWay !== undefined).length,
      classes,
    }
  }

  /** Every host that was used is given back. @returns those of which it is not known */
  async sendHome(): Promise<string[]> {
    const { place, night, news, signal, patienceMs } = this.#options
    const hosts = await place.db
      .selectFrom('night_hosts')
      .select('host')
      .where('night_id', '=', night)
      .execute()
    await addJobs(
      place.db,
      hosts.map(({ host }) => ({
        task: homeTask(host),
        payload: { night },
        key: `home-${night}-${host}`,
        priority: 0,
        flags: [JOB],
        line: `host:${host}`,
      })),
    )
    const begin = performance.now()
    for (;;) {
      const seen = news.count
      const away = await place.db
        .selectFrom('night_hosts')
        .select(['host', 'home'])
        .where('night_id', '=', night)
        .where(row =>
          row.or([row('home', 'is', null), row('home', '<>', HOME)]),
        )
        .execute()
      const unknown = away.filter(({ home }) => home === null)
      if (unknown.length === 0 || performance.now() - begin > patienceMs)
        return away.map(({ host }) => host)
      await news.after(seen, LOOK, signal)
    }
  }
}

const OVER = 'the time of the night was over'

const ready = (
  { cell, places, estimateMs }: CellState,
  step: Ready['step'],
): Ready => ({ cell, places, estimateMs, step })

const triedOf = ({ state, verdict, machine }: AttemptState): Tried[] =>
  state === 'done' && verdict !== null
    ? [{ verdict, machine: machine ?? '' }]
    : []

/** Repeated boots first, then the longest. */
const priorityOf = ({ step, estimateMs }: Ready): number =>
  step.reason === 'first'
    ? -Math.min(20_000, Math.round(estimateMs / 100))
    : -30_000
