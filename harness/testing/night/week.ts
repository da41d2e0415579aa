import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { sql } from 'kysely'
import { projectRoot } from '../../base/paths.ts'
import { MIB } from '../../base/units.ts'
import { JOB, attemptsOf, keyText } from '../../night/attempts.ts'
import type { CellClass } from '../../night/decide.ts'
import { type NightPlace, withNights } from '../../night/database.ts'
import { eventsOf } from '../../night/events.ts'
import { Leader } from '../../night/leader.ts'
import { News } from '../../night/news.ts'
import {
  cellsOf,
  closeNight,
  createNight,
  endNight,
  keepPlan,
} from '../../night/nights.ts'
import { type Plan, type PlannedCell, hostPlace } from '../../night/plan.ts'
import { sendHome } from '../../night/send-home.ts'
import { addJobs } from '../../night/queue.ts'
import { BUILD_TASK, lookTask } from '../../night/side-jobs.ts'
import { builtRecipes } from '../../kernel/recipe.ts'
import { caseDocument } from '../../report/document.ts'
import { judgedOutcome } from '../judged.ts'
import { namedCase } from '../records.ts'
import { chance } from './chance.ts'
import { LEASE_MS, type MadeWorker, hostFile } from './made-worker.ts'

/** What can go wrong in a night; each of them is made to. */
export const FAULTS = [
  'worker killed',
  'machine lost',
  'database away',
  'disk full',
  'clock jumps',
  'host dies',
] as const
export type Fault = (typeof FAULTS)[number]

/** A server that can be killed. */
export interface Server {
  readonly url: string
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

export interface WeekOptions {
  readonly server: Server
  /** A short private folder. */
  readonly folder: string
  readonly seed: string
  readonly nights: number
  readonly hosts: number
  readonly workers: number
  readonly cases: number
  /** Every case on each host, or on one of them. */
  readonly spread: 'any' | 'each'
  readonly bootMs: number
  /** Milliseconds for which the database is away. */
  readonly awayMs: number
  readonly faults: readonly Fault[]
  readonly onLog: (text: string) => void
}

/** What a night has shown, against what was made to happen. */
export interface NightCheck {
  readonly classes: Readonly<Partial<Record<CellClass, number>>>
  readonly boots: number
  /** Boots that a worker has judged, and whose result is nowhere. */
  readonly lost: readonly string[]
  /** Boots that were stored more than once. */
  readonly twice: readonly string[]
  /** Cells whose class is not what their boots say or their kernel is. */
  readonly wrong: readonly string[]
  /** Hosts that are in a test boot after their lease. */
  readonly away: readonly string[]
  /** Faults that the morning does not tell. */
  readonly untold: readonly Fault[]
  readonly seconds: number
}

/** What happens to kernels of the week: most pass, a few fail, some at times. */
const natureOf = (seed: string, id: string): number => {
  const draw = chance(seed, 'nature', id)
  if (draw < 0.01) return 1
  return draw < 0.03 ? 0.4 : 0
}

const ERROR_RATE = 0.01
/** The made disk: what is left of it, and what a worker needs. */
const ROOM = 8 * MIB

/** Nights with a real queue and a real database, and with made machines. */
export const simulateWeek = async (
  options: WeekOptions,
): Promise<NightCheck[]> => {
  const { server, folder, onLog } = options
  const crew = await Crew.gather(options)
  const checks: NightCheck[] = []
  try {
    await withNights(
      server.url,
      { onWait: () => undefined, connections: 8 },
      async place => {
        await watchStores(place)
        for (let night = 0; night < options.nights; night++) {
          checks.push(await oneNight(place, night, crew, options))
          onLog(`night ${night + 1}: ${JSON.stringify(checks.at(-1))}`)
        }
      },
    )
    return checks
  } finally {
    await crew.end()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Every time a boot becomes one that is done, whoever does it. */
const watchStores = async ({ db }: NightPlace): Promise<void> => {
  await sql`create table if not exists made_stores (
    night_id int, cell int, number int)`.execute(db)
  await sql`create or replace function made_store() returns trigger as $$
    begin
      if new.state = 'done' then
        insert into made_stores values (new.night_id, new.cell, new.number);
      end if;
      return new;
    end $$ language plpgsql`.execute(db)
  await sql`create or replace trigger made_store after update
    on night_attempts for each row execute function made_store()`.execute(db)
}

/** The workers of the week, as processes. */
class Crew {
  readonly size: number
  readonly #options: WeekOptions
  readonly #processes = new Map<number, ChildProcess>()
  /** A disk of a megabyte or two, where such a thing can be made. */
  readonly disk: MadeDisk

  private constructor(options: WeekOptions, disk: MadeDisk) {
    this.#options = options
    this.size = options.workers
    this.disk = disk
  }

  static async gather(options: WeekOptions): Promise<Crew> {
    mkdirSync(options.folder, { recursive: true })
    const disk = new MadeDisk(join(options.folder, 'disk'))
    await disk.make()
    const crew = new Crew(options, disk)
    for (let number = 0; number < crew.size; number++) await crew.start(number)
    return crew
  }

  isUp(number: number): boolean {
    return this.#processes.has(number)
  }

  hostsOf(worker: number): string[] {
    return Array.from(
      { length: this.#options.hosts },
      (_, i) => `h${i}`,
    ).filter((_, i) => i % this.size === worker)
  }

  async start(number: number): Promise<void> {
    const { server, seed, folder, bootMs } = this.#options
    const made: MadeWorker = {
      url: server.url,
      name: `w${number}`,
      hosts: this.hostsOf(number),
      qemuJobs: 0,
      seed,
      folder,
      roomFolder: number === 0 ? this.disk.folder : folder,
      room: ROOM,
      bootMs,
      errorRate: ERROR_RATE,
    }
    const child = spawn(
      process.execPath,
      [
        join(projectRoot(), 'dist/testing/night/made-worker.js'),
        JSON.stringify(made),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-2000)
    })
    child.on('exit', (code, signal) => {
      // Nobody but the injector ends one.
      if (signal !== 'SIGKILL')
        this.#options.onLog(
          `  worker w${number} ended by itself: ${code ?? String(signal)}: ${said}`,
        )
    })
    this.#processes.set(number, child)
    const failed = once(child, 'exit').then(() => {
      throw new Error(`worker ${number} did not start: ${said}`)
    })
    failed.catch(() => undefined)
    await Promise.race([once(child.stdout, 'data'), failed])
  }

  send(number: number, signal: NodeJS.Signals): void {
    this.#processes.get(number)?.kill(signal)
  }

  async kill(number: number): Promise<void> {
    const child = this.#processes.get(number)
    if (!child) return
    child.kill('SIGKILL')
    await once(child, 'exit')
    this.#processes.delete(number)
  }

  async end(): Promise<void> {
    for (const number of [...this.#processes.keys()]) await this.kill(number)
    await this.disk.remove()
  }
}

/** A file system that can be filled. */
class MadeDisk {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
    mkdirSync(folder, { recursive: true })
  }

  /** Only a small one of our own is ever filled. */
  get isMade(): boolean {
    const { blocks, bsize } = statfsSync(this.folder)
    return blocks * bsize <= 64 * MIB
  }

  /** Leaves less than a worker needs. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.folder)
    if (!this.isMade) throw new Error(`${this.folder} is no made disk`)
    const free = bavail * bsize
    writeFileSync(
      join(this.folder, 'full'),
      Buffer.alloc(Math.max(0, free - MIB)),
    )
  }

  empty(): void {
    rmSync(join(this.folder, 'full'), { force: true })
  }

  async remove(): Promise<void> {
    const child = spawn('umount', [this.folder], { stdio: 'ignore' })
    await once(child, 'exit')
  }

  /** Only root may: else it stays a folder, which is never filled. */
  async make(): Promise<void> {
    const child = spawn(
      'mount',
      ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', this.folder],
      { stdio: 'ignore' },
    )
    await once(child, 'exit')
  }
}

/** Where the result of a boot is put in. */
const TEMPLATE = (): string =>
  JSON.stringify({
    ...caseDocument(judgedOutcome(namedCase({})), () => 'tdxrig run'),
    id: '',
  })

const cellsFor = (
  { seed, cases, hosts, spread }: WeekOptions,
  body: string,
): PlannedCell[] => {
  const all = Array.from({ length: hosts }, (_, i) => `h${i}`)
  return Array.from({ length: cases }, (_, i) => `case-${i}@kernel`).flatMap(
    id => {
      const input = { made: { failureRate: natureOf(seed, id), body } }
      const cell = {
        kernel: 'kernel',
        scenario: 'made.yaml',
        input,
        values: [],
        estimateMs: 1000 * chance(seed, 'time', id),
        repeat: 1,
        note: null,
      }
      // A few cases suit some of the hosts alone.
      const suited = chance(seed, 'suits', id) < 0.1 ? all.slice(0, 3) : all
      return spread === 'any'
        ? [{ ...cell, id, target: 'made', places: suited.map(hostPlace) }]
        : suited.map(host => ({
            ...cell,
            id: `${id}@${host}`,
            target: host,
            places: [hostPlace(host)],
          }))
    },
  )
}

const PLAN: Plan = {
  name: 'week',
  label: 'week',
  file: 'made.yaml',
  targets: {},
  policy: { same: 1, elsewhere: 1, errors: 3 },
  bisect: 0,
  budgetMs: null,
  release: null,
  keep: { nights: null, days: null },
  reduction: null,
  otherNights: [],
  likes: {},
  origins: {},
}

/** Milliseconds for which a machine that is gone is waited for. */
const PATIENCE = 20_000

const oneNight = async (
  place: NightPlace,
  number: number,
  crew: Crew,
  options: WeekOptions,
): Promise<NightCheck> => {
  const { seed, faults, onLog } = options
  const begin = performance.now()
  for (let worker = 0; worker < crew.size; worker++)
    if (!crew.isUp(worker)) await crew.start(worker)
  const night = await createNight(place.db, PLAN)
  const controller = new AbortController()
  await using news = new News(place.pool)
  const common = {
    place,
    night,
    news,
    signal: controller.signal,
    patienceMs: PATIENCE,
  }
  await lookAtAll(place, night, options)
  const [recipe] = builtRecipes(['/made'])
  await keepPlan(place.db, night, {
    plan: PLAN,
    kernels: [
      { name: 'kernel', recipe: recipe!, like: 'kernel', origin: null },
    ],
    cells: cellsFor({ ...options, seed: `${seed}` }, TEMPLATE()),
  })
  await addJobs(place.db, [
    {
      task: BUILD_TASK,
      payload: { night, name: 'kernel' },
      key: `build-${night}`,
      priority: 0,
      flags: [JOB],
      line: null,
    },
  ])
  const injector = new Injector(crew, number, options)
  await Leader.lead({
    ...common,
    plan: PLAN,
    onLog: (kind, text) => {
      onLog(`  ${kind}: ${text}`)
    },
    onProgress: ({ cells, open }) => {
      injector.at(1 - open / cells)
    },
  })
  await injector.done()
  await sendHome(common)
  await closeNight(place.db, night)
  const check = await checkNight(place, night, faults, options)
  await endNight(place.db, night, 'done')
  injector.mend()
  return { ...check, seconds: Math.round((performance.now() - begin) / 1000) }
}

const lookAtAll = async (
  { db }: NightPlace,
  night: number,
  { hosts }: WeekOptions,
): Promise<void> => {
  await addJobs(
    db,
    Array.from({ length: hosts }, (_, i) => ({
      task: lookTask(`h${i}`),
      payload: { night },
      key: `look-${night}-${i}`,
      priority: 0,
      flags: [JOB],
      line: hostPlace(`h${i}`),
    })),
  )
  for (;;) {
    const rows = await db
      .selectFrom('night_hosts')
      .select('host')
      .where('night_id', '=', night)
      .execute()
    if (rows.length === hosts) return
    await setTimeout(100)
  }
}

/** Makes each fault happen, one after the other, as the night goes on. */
class Injector {
  readonly #crew: Crew
  readonly #options: WeekOptions
  readonly #order: readonly Fault[]
  #next = 0
  #busy: Promise<void> = Promise.resolve()

  constructor(crew: Crew, night: number, options: WeekOptions) {
    this.#crew = crew
    this.#options = options
    this.#order = options.faults.toSorted(
      (a, b) => chance(options.seed, night, a) - chance(options.seed, night, b),
    )
  }

  /** @param share of the night that is over */
  at(share: number): void {
    const fault = this.#order[this.#next]
    if (!fault || share < (this.#next + 0.5) / (this.#order.length + 1)) return
    this.#next++
    this.#busy = this.#busy.then(() => this.#inject(fault))
  }

  async done(): Promise<void> {
    await this.#busy
  }

  /** For the next night. */
  mend(): void {
    const { folder, hosts } = this.#options
    for (let i = 0; i < hosts; i++)
      rmSync(join(folder, `dead-h${i}`), { force: true })
  }

  async #inject(fault: Fault): Promise<void> {
    const { folder, server, awayMs, onLog } = this.#options
    const crew = this.#crew
    onLog(`  fault: ${fault}`)
    switch (fault) {
      case 'worker killed':
        await crew.kill(1)
        await setTimeout(1_000)
        await crew.start(1)
        break
      case 'machine lost':
        await crew.kill(2)
        break
      case 'database away':
        await server.kill()
        await setTimeout(awayMs)
        await server.start()
        break
      case 'disk full':
        if (!crew.disk.isMade) break
        crew.disk.fill()
        await setTimeout(5_000)
        crew.disk.empty()
        break
      case 'clock jumps':
        crew.send(3, 'SIGUSR2')
        break
      case 'host dies':
        writeFileSync(join(folder, `dead-${crew.hostsOf(0)[0]!}`), '')
        break
    }
  }
}

const TOLD: Readonly<Record<Fault, RegExp>> = {
  'worker killed': /worker w1 was (?:started again|not heard of)/,
  'machine lost': /worker w2 was not heard of/,
  'database away': /could not reach the database/,
  'disk full': /worker w0 takes no cases/,
  'clock jumps': /the clock of worker w3 jumped/,
  'host dies': /host h0 is given no further case/,
}

const checkNight = async (
  { db }: NightPlace,
  night: number,
  faults: readonly Fault[],
  { folder, seed, spread }: WeekOptions,
): Promise<Omit<NightCheck, 'seconds'>> => {
  const cells = await cellsOf(db, night)
  const attempts = await attemptsOf(db, night)
  const stored = new Set(
    attempts
      .filter(({ state }) => state === 'done')
      .map(({ cell, number }) => keyText({ night, cell, number })),
  )
  const judged = readdirSync(folder)
    .filter(name => name.startsWith('ledger-'))
    .flatMap(name => readFileSync(join(folder, name), 'utf8').split('\n'))
    .filter(line => line.startsWith(`case-${night}-`))
    .map(line => line.split(' ')[0]!)
  const { rows: twice } = await sql<{ key: string }>`
    select cell || '-' || number as key from made_stores
    where night_id = ${night} group by cell, number having count(*) > 1`.execute(
    db,
  )
  const perCell = new Map<number, typeof attempts>()
  for (const attempt of attempts)
    perCell.set(attempt.cell, [...(perCell.get(attempt.cell) ?? []), attempt])
  const classes: Partial<Record<CellClass, number>> = {}
  const wrong: string[] = []
  for (const { cell, id, class: is } of cells) {
    const name = is ?? 'not run'
    classes[name] = (classes[name] ?? 0) + 1
    const problem = problemOf(is, perCell.get(cell) ?? [], {
      failureRate: natureOf(seed, id.split('@').slice(0, 2).join('@')),
      spread,
    })
    if (problem !== undefined) wrong.push(`${id}: ${problem}`)
  }
  await setTimeout(LEASE_MS)
  const events = await eventsOf(db, night)
  if (process.env['SHOW_EVENTS'])
    for (const e of events) console.log('   ', e.at, e.text)
  const diskIsMade = faults.includes('disk full')
  return {
    classes,
    boots: stored.size,
    lost: [...new Set(judged)].filter(key => !stored.has(key)),
    twice: twice.map(({ key }) => key),
    wrong,
    away: hostsAway(folder),
    untold: faults.filter(
      fault =>
        (fault !== 'disk full' || diskIsMade) &&
        !events.some(({ text }) => TOLD[fault].test(text)),
    ),
  }
}

const hostsAway = (folder: string): string[] =>
  readdirSync(folder).flatMap(name => {
    if (!name.startsWith('host-')) return []
    const host = name.slice('host-'.length)
    const [state, until] = readFileSync(hostFile(folder, host), 'utf8').split(
      ' ',
    )
    // A made host goes home when its lease ends, as a real one does.
    return state === 'test' && Number(until) > Date.now() ? [host] : []
  })

/** What is not as it must be with a cell; undefined: nothing. */
const problemOf = (
  is: CellClass | null,
  attempts: Awaited<ReturnType<typeof attemptsOf>>,
  {
    failureRate,
    spread,
  }: { readonly failureRate: number; readonly spread: 'any' | 'each' },
): string | undefined => {
  const failed = attempts.filter(({ verdict }) => verdict === 'fail')
  const passed = attempts.filter(({ verdict }) => verdict === 'pass')
  const errors = attempts.filter(({ verdict }) => verdict === 'error')
  switch (is) {
    case 'pass':
      return failed.length > 0 || passed.length === 0
        ? 'a pass with other boots'
        : undefined
    case 'fail':
      if (failureRate === 0) return 'its kernel never fails'
      if (passed.length > 0) return 'it has passed as well'
      if (failed.length < 2) return 'it was not repeated'
      return spread === 'any' &&
        new Set(failed.map(({ machine }) => machine)).size < 2
        ? 'no other machine has seen it'
        : undefined
    case 'flaky':
      return passed.length === 0 || failed.length === 0
        ? 'all boots are the same'
        : undefined
    case 'error':
      return errors.length === 0 ? 'no boot had an error' : undefined
    case 'not run':
      return spread === 'each' ? undefined : 'somebody could have booted it'
    default:
      return `it is '${String(is)}'`
  }
}
