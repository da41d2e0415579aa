import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { Test } from 'tap'
import type { Verdict } from '../../judge/context.ts'
import { builtRecipes } from '../../kernel/recipe.ts'
import type { Bench } from '../../night/bench.ts'
import type { NightPlace } from '../../night/database.ts'
import { Leader } from '../../night/leader.ts'
import { News } from '../../night/news.ts'
import { closeNight, createNight, keepPlan } from '../../night/nights.ts'
import type { Plan, PlannedCell } from '../../night/plan.ts'
import { addJobs } from '../../night/queue.ts'
import { type BuiltForAll, buildJob } from '../../night/side-jobs.ts'
import { NightWorker } from '../../night/worker.ts'
import { workersOf } from '../../night/workers.ts'
import { caseDocument } from '../../report/document.ts'
import { judgedOutcome } from '../judged.ts'
import { namedCase } from '../records.ts'

/** Nights whose machines are scripted; queue and database are real. */

const pack = promisify(gzip)
const item = namedCase({ machine: { memory: '4G' } })
const passed = caseDocument(judgedOutcome(item), () => 'tdxrig run x')

export const PLAN: Plan = {
  name: 'test',
  label: 'test',
  file: 'night.yaml',
  targets: {},
  policy: { same: 1, elsewhere: 1, errors: 1 },
  bisect: 0,
  budgetMs: null,
  release: null,
  keep: { nights: null, days: null },
  reduction: null,
  otherNights: [],
  builtOn: {},
  likes: { kernel: 'kernel' },
  origins: {},
}

/** A cell that QEMU can boot. */
export const cell = (
  id: string,
  changes: Partial<PlannedCell> = {},
): PlannedCell => ({
  id,
  kernel: 'kernel',
  target: 'qemu',
  scenario: 'scenarios/group/name.yaml',
  input: { machine: { memory: '4G' } },
  values: [],
  places: ['qemu'],
  isOffered: true,
  estimateMs: 10,
  repeat: 1,
  note: null,
  ...changes,
})

/** What a scripted machine says to a case, boot by boot. */
export type Script = Readonly<Record<string, readonly string[]>>

const scripted =
  (name: string, script: Script, boots: Map<string, number>): Bench['boot'] =>
  async ({ begun }) => {
    const number = boots.get(begun.id) ?? 0
    boots.set(begun.id, number + 1)
    const verdict = (script[begun.id]?.[number] ?? 'pass') as Verdict
    const isPass = verdict === 'pass'
    return {
      verdict,
      machine: name,
      totalMs: 20,
      message: isPass ? null : `it is a ${verdict}`,
      body: await pack(JSON.stringify({ ...passed, id: begun.id, verdict })),
      console: isPass ? null : await pack('a console\n'),
    }
  }

interface Staged {
  readonly place: NightPlace
  readonly night: number
  readonly lead: (plan?: Partial<Plan>, patienceMs?: number) => Promise<void>
}

export interface ScriptedWorker {
  readonly jobs: number
  readonly boot: Bench['boot']
  readonly build?: () => Promise<BuiltForAll>
  readonly signal: AbortSignal
}

/** A worker in this process, whose guests are scripted. */
export const scriptedWorker = (
  place: NightPlace,
  name: string,
  { jobs, boot, build, signal }: ScriptedWorker,
): Promise<NightWorker> =>
  NightWorker.start({
    place,
    name,
    machine: name,
    version: 'test',
    qemu: { jobs, kvm: false, board: 'q35', benches: { qemu: { boot } } },
    hosts: [],
    build,
    spool: undefined,
    folder: '/tmp',
    room: 1,
    signal,
    onLog: () => undefined,
  })

/** Workers with a script, and a night for them. */
export const staged = async (
  t: Test,
  place: NightPlace,
  {
    workers,
    script,
    cells,
    build = () => Promise.resolve({ key: 'abc', release: '7.3.0' }),
  }: {
    readonly workers: readonly string[]
    readonly script: Script
    readonly cells: readonly PlannedCell[]
    readonly build?: (worker: string) => Promise<BuiltForAll>
  },
  action: (staged: Staged) => Promise<void>,
): Promise<void> => {
  const controller = new AbortController()
  const boots = new Map<string, number>()
  const started = await Promise.all(
    workers.map(name =>
      scriptedWorker(place, name, {
        jobs: 2,
        boot: scripted(name, script, boots),
        build: () => build(name),
        signal: controller.signal,
      }),
    ),
  )
  const night = await createNight(place.db, PLAN)
  const [recipe] = builtRecipes(['/made'])
  await keepPlan(place.db, night, {
    plan: PLAN,
    kernels: [
      { name: 'kernel', recipe: recipe!, like: 'kernel', origin: null },
    ],
    cells,
  })
  await addJobs(place.db, [buildJob(night, 'kernel', null)])
  try {
    await using news = new News(place.pool)
    await action({
      place,
      night,
      lead: async (plan = {}, patienceMs = 60_000) => {
        await Leader.lead({
          place,
          night,
          plan: { ...PLAN, ...plan },
          news,
          signal: controller.signal,
          patienceMs,
          onLog: () => undefined,
          onProgress: () => undefined,
        })
        await closeNight(place.db, night)
      },
    })
  } finally {
    await Promise.all(started.map(worker => worker.drain()))
    t.same(
      (await workersOf(place.db)).filter(({ state }) => state !== 'gone'),
      [],
      'all have left',
    )
  }
}
