import { rmSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { sql } from 'kysely'
import { builtRecipes } from '../../kernel/recipe.ts'
import { JOB } from '../../night/attempts.ts'
import { type NightPlace, withNights } from '../../night/database.ts'
import { Leader } from '../../night/leader.ts'
import { News } from '../../night/news.ts'
import {
  closeNight,
  createNight,
  endNight,
  keepPlan,
} from '../../night/nights.ts'
import { type Plan, type PlannedCell, hostPlace } from '../../night/plan.ts'
import { addJobs } from '../../night/queue.ts'
import { sendHome } from '../../night/send-home.ts'
import { buildJob, lookTask } from '../../night/side-jobs.ts'
import { caseDocument } from '../../report/document.ts'
import { judgedOutcome } from '../judged.ts'
import { namedCase } from '../records.ts'
import { chance } from './chance.ts'
import { checkNight, untoldFaults } from './check.ts'
import { Crew } from './crew.ts'
import { deadFile } from './made-hosts.ts'
import { PLAN as TEST_PLAN } from './stage.ts'
import {
  type Fault,
  type NightCheck,
  type WeekOptions,
  natureOf,
} from './faults.ts'

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
        isOffered: true,
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
  ...TEST_PLAN,
  name: 'week',
  policy: { same: 1, elsewhere: 1, errors: 3 },
}

/** Milliseconds for which a machine that is gone is waited for. */
const PATIENCE = 20_000

const oneNight = async (
  place: NightPlace,
  number: number,
  crew: Crew,
  options: WeekOptions,
): Promise<NightCheck> => {
  const { onLog } = options
  // A disk can only be filled where one can be made.
  const faults = options.faults.filter(
    fault => fault !== 'disk full' || crew.disk.isMade,
  )
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
    cells: cellsFor(options, TEMPLATE()),
  })
  await addJobs(place.db, [buildJob(night, 'kernel', null)])
  const injector = new Injector(crew, number, { ...options, faults })
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
  await injector.done(place, night)
  await sendHome(common)
  await closeNight(place.db, night)
  const check = await checkNight(place, night, crew, {
    ...options,
    faults,
  })
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

/** Milliseconds within which a fault is seen: a worker is lost after 8 s. */
const SEEN = 30_000

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

  /** A made night may be over before somebody has seen its last fault. */
  async done({ db }: NightPlace, night: number): Promise<void> {
    await this.#busy
    const { faults } = this.#options
    const late = performance.now() + SEEN
    while ((await untoldFaults(db, night, faults)).length > 0) {
      if (performance.now() > late) return
      await setTimeout(200)
    }
  }

  /** For the next night. */
  mend(): void {
    const { folder, hosts } = this.#options
    for (let i = 0; i < hosts; i++)
      rmSync(deadFile(folder, `h${i}`), { force: true })
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
        crew.disk.fill()
        await setTimeout(5_000)
        crew.disk.empty()
        break
      case 'clock jumps':
        crew.send(3, 'SIGUSR2')
        break
      case 'host dies':
        writeFileSync(deadFile(folder, crew.hostsOf(0)[0]!), '')
        break
    }
  }
}
