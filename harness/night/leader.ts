import { sql } from 'kysely'
import {
  type AttemptState,
  type Order,
  attemptsAt,
  openAttempts,
  queueAttempts,
  withdrawAttempts,
} from './attempts.ts'
import { CellBook, type CellState, type NightProgress } from './cell-book.ts'
import type { NightPlace } from './database.ts'
import { type CellClass, type Step, cutShort, decide } from './decide.ts'
import { type EventKind, tell } from './events.ts'
import { Floor } from './floor.ts'
import { LOOK, type News } from './news.ts'
import { type KernelState, kernelsOf } from './nights.ts'
import { throughOutages } from './outage.ts'
import { Pending, type Ready, suits } from './pending.ts'
import { type Plan, hostOf } from './plan.ts'
import { workersOf } from './workers.ts'

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

/** Faults of a host in a row, before it is given no further case. */
const ASIDE = 3
/** Jobs that wait for a slot: nobody waits for who leads the night. */
const SPARE = 2
const OVER = 'the time of the night was over'

/**
 * Leads a night: gives each place what it is to boot next, decides what comes
 * of a cell, and ends when all are settled or the time is over. All it knows
 * is in the database: another one goes on where it was.
 */
export class Leader {
  readonly #options: LeaderOptions
  readonly #pending = new Pending()
  /** Kernels that are built, or known not to be. */
  readonly #kernels = new Set<string>()
  /** Since when nobody offers what a cell needs. */
  readonly #awaySince = new Map<number, number>()
  /** Since when nobody builds a kernel. */
  readonly #unbuiltSince = new Map<string, number>()
  readonly #aside = new Set<string>()
  readonly #hostErrors = new Map<string, number>()
  readonly #book: CellBook
  #floor = new Floor([], new Set())
  #isOver = false
  /** When all was looked at. */
  #looked = -Infinity

  private constructor(options: LeaderOptions, book: CellBook) {
    this.#options = options
    this.#book = book
  }

  /**
   * Leads a night to its end. When the database was away, what is known of it
   * is read anew.
   *
   * @throws what the signal says
   */
  static async lead(options: LeaderOptions): Promise<void> {
    await throughOutages(options, async () => {
      const leader = await Leader.#take(options)
      await leader.#run()
    })
  }

  static async #take(options: LeaderOptions): Promise<Leader> {
    const { place, night } = options
    const book = await CellBook.load(place.db, night)
    const leader = new Leader(options, book)
    const hosts = await place.db
      .selectFrom('night_hosts')
      .select('host')
      .where('night_id', '=', night)
      .where('aside', 'is not', null)
      .execute()
    for (const { host } of hosts) leader.#aside.add(host)
    return leader
  }

  async #run(): Promise<void> {
    const { signal, news } = this.#options
    for (;;) {
      signal.throwIfAborted()
      const seen = news.count
      if (await this.#step()) return
      await news.after(seen, LOOK, signal)
    }
  }

  /**
   * What is over makes room for the next boot at once; who is there is looked
   * at now and then, so that a boot costs few statements.
   *
   * @returns whether all is over
   */
  async #step(): Promise<boolean> {
    const { place, night, plan, onProgress } = this.#options
    const isDue = performance.now() - this.#looked >= LOOK
    if (isDue) {
      this.#floor = new Floor(await workersOf(place.db), this.#aside)
      this.#looked = performance.now()
    }
    await this.#collect()
    if (isDue || this.#kernels.size < Object.keys(plan.likes).length)
      this.#readyKernels(await kernelsOf(place.db, night))
    if (isDue) await this.#look()
    if (!this.#isOver) await this.#feed()
    await this.#book.store(place.db, night)
    const { progress } = this.#book
    await onProgress(progress)
    return progress.open === 0
  }

  /** Time, and machines that are gone. */
  async #look(): Promise<void> {
    const { place, night } = this.#options
    const open = await openAttempts(place.db, night)
    if (!this.#isOver && (await this.#timeIsOver())) await this.#close(open)
    // What a worker has lost after that is not begun again.
    else if (this.#isOver) await this.#withdrawQueued(open)
    if (this.#isOver) return
    await this.#reroute(open)
    await this.#giveUpAbsent()
  }

  /** Boots that are over since the last time. */
  async #collect(): Promise<void> {
    const { place, night } = this.#options
    const given = this.#book
      .given()
      .flatMap(({ cell, given: boot }) =>
        boot ? [{ cell, number: boot.number }] : [],
      )
    const attempts = await attemptsAt(place.db, night, given)
    const isThere = new Set(attempts.map(({ cell }) => cell))
    // Somebody else has taken it back.
    for (const { cell } of given)
      if (!isThere.has(cell)) this.#decide(this.#book.takeBack(cell))
    for (const attempt of attempts) {
      if (attempt.state !== 'done') continue
      const state = this.#book.takeBack(attempt.cell, attempt)
      await this.#watchHost(attempt)
      this.#decide(state)
    }
  }

  /** A boot that waits for a machine which is gone goes elsewhere. */
  async #reroute(open: readonly AttemptState[]): Promise<void> {
    await this.#withdraw(
      open.filter(({ state, place, only_machine: only, not_machine: not }) => {
        if (state !== 'queued') return false
        if (hostOf(place) !== undefined) return !this.#floor.slots.has(place)
        if (only !== null) return !this.#floor.isThere(only, place)
        return not !== null && !this.#floor.hasOther(not, [place])
      }),
    )
  }

  #withdrawQueued(open: readonly AttemptState[]): Promise<void> {
    return this.#withdraw(open.filter(({ state }) => state === 'queued'))
  }

  async #withdraw(attempts: readonly AttemptState[]): Promise<void> {
    const { place, night } = this.#options
    const taken = await withdrawAttempts(
      place.db,
      attempts.map(({ cell, number }) => ({ night, cell, number })),
    )
    for (const { cell } of taken) this.#decide(this.#book.takeBack(cell))
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
    const { place, night } = this.#options
    const why = `${errors} faults in a row, the last: ${message ?? 'no message'}`
    await place.db
      .updateTable('night_hosts')
      .set({ errors, aside: why })
      .where('night_id', '=', night)
      .where('host', '=', host)
      .execute()
    await this.#say('host', `host ${host} is given no further case: ${why}`)
    this.#floor = new Floor(await workersOf(place.db), this.#aside)
  }

  #readyKernels(kernels: readonly KernelState[]): void {
    for (const { name, state, message } of kernels) {
      if (this.#kernels.has(name)) continue
      if (state !== 'built' && state !== 'failed') {
        if (state === 'wanted') this.#giveUpUnbuilt(name)
        continue
      }
      this.#kernels.add(name)
      const its = [...this.#book.idle()].filter(one => one.kernel === name)
      if (state === 'failed') {
        for (const { cell } of its)
          this.#book.settle(
            cell,
            'error',
            `the kernel was not built: ${message ?? ''}`,
          )
        continue
      }
      this.#pending.addFirst(
        its
          .filter(({ tried }) => tried.length === 0)
          .map(one => ready(one, { kind: 'boot', reason: 'first' })),
      )
      for (const one of its) if (one.tried.length > 0) this.#decide(one)
    }
  }

  /** Nobody offers to build it: after a while it is not waited for. */
  #giveUpUnbuilt(name: string): void {
    const { patienceMs, plan } = this.#options
    const machine = plan.builtOn[name] ?? null
    const now = performance.now()
    const since = this.#floor.builds(machine)
      ? now
      : (this.#unbuiltSince.get(name) ?? now)
    this.#unbuiltSince.set(name, since)
    if (now - since <= patienceMs) return
    this.#kernels.add(name)
    for (const { cell, kernel } of [...this.#book.idle()])
      if (kernel === name)
        this.#book.settle(
          cell,
          'not run',
          `no worker was there that builds the kernel${machine === null ? '' : ` on ${machine}, where its source is`}`,
        )
  }

  #decide(state: CellState): void {
    if (this.#isOver) {
      this.#book.settle(state.cell, this.#lastClass(state), OVER)
      return
    }
    const step = this.#next(state)
    if (step.kind === 'settled') this.#book.settle(state.cell, step.class, null)
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

  /** What was decided by then is what it is. */
  #lastClass(state: CellState): CellClass {
    const step = this.#next(state)
    return step.kind === 'settled' ? step.class : cutShort(state.tried)
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
  async #close(open: readonly AttemptState[]): Promise<void> {
    this.#isOver = true
    const before = this.#book.progress.open
    await this.#withdrawQueued(open)
    for (const state of this.#book.idle()) this.#decide(state)
    await this.#say(
      'budget',
      `the time of the night is over: ${before} cases were open`,
    )
  }

  /** Nobody offers what a cell needs: after a while it is not waited for. */
  async #giveUpAbsent(): Promise<void> {
    const there = [...this.#floor.slots.keys()]
    const stuck = this.#pending.takeOut(one =>
      there.some(place => suits(one, place)),
    )
    const [absent, others] = divided(stuck, ({ places }) =>
      places.every(at => !this.#floor.slots.has(at)),
    )
    // The machine that was to boot it is gone, and others are there.
    for (const { cell } of others) this.#decide(this.#book.at(cell))
    const now = performance.now()
    const given: string[] = []
    for (const one of absent) {
      const since = this.#awaySince.get(one.cell) ?? now
      this.#awaySince.set(one.cell, since)
      // A host that was put aside does not come back.
      const isHopeless = one.places.every(at =>
        this.#floor.isAside(hostOf(at) ?? ''),
      )
      if (isHopeless || now - since > this.#options.patienceMs) {
        const state = this.#book.at(one.cell)
        this.#book.settle(
          one.cell,
          cutShort(state.tried),
          isHopeless
            ? `no host is left that can boot it: ${one.places.join(', ')}`
            : `no worker was there that offers ${one.places.join(' or ')}`,
        )
        given.push(state.id)
      } else if (one.step.reason === 'first') this.#pending.addFirst([one])
      else this.#pending.addAgain(one)
    }
    if (given.length > 0)
      await this.#say(
        'worker',
        `nobody is there to boot ${given.length === 1 ? given[0]! : `${given.length} cases`}`,
      )
  }

  /** Each place is given as much as it can boot, and a little more. */
  async #feed(): Promise<void> {
    const { place, night } = this.#options
    const orders: Order[] = []
    for (const [at, slots] of this.#floor.slots) {
      const wanted = slots * (hostOf(at) === undefined ? 2 : 1) + SPARE
      while (this.#book.givenTo(at) < wanted) {
        const one = this.#pending.take(at)
        if (!one) break
        const { given } = this.#book.give(one.cell, at)
        this.#awaySince.delete(one.cell)
        orders.push({
          night,
          cell: one.cell,
          number: given!.number,
          place: at,
          step: one.step,
          priority: priorityOf(one),
        })
      }
    }
    await queueAttempts(place.db, orders)
  }

  async #say(kind: EventKind, text: string): Promise<void> {
    const { place, night, onLog } = this.#options
    onLog(kind, text)
    await tell(place.db, night, kind, text)
  }
}

const divided = <T>(
  list: readonly T[],
  isFirst: (one: T) => boolean,
): [T[], T[]] => [list.filter(isFirst), list.filter(one => !isFirst(one))]

const ready = (
  { cell, places, estimateMs }: CellState,
  step: Ready['step'],
): Ready => ({ cell, places, estimateMs, step })

/** Repeated boots first, then the longest. */
const priorityOf = ({ step, estimateMs }: Ready): number =>
  step.reason === 'first'
    ? -Math.min(20_000, Math.round(estimateMs / 100))
    : -30_000
