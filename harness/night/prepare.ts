import { UsageError } from '../base/errors.ts'
import type { Board, FoundMachine } from '../board/index.ts'
import { JOB } from './attempts.ts'
import { type LookedHost, isMeant, planCells, runsTonight } from './cells.ts'
import type { NightPlace } from './database.ts'
import { tell } from './events.ts'
import { Floor } from './floor.ts'
import { resolveKernels } from './kernels.ts'
import type { News } from './news.ts'
import { keepPlan, kernelsOf, nightsBefore } from './nights.ts'
import type { NightFile } from './plan-file.ts'
import {
  type Plan,
  type PlannedCell,
  type PlannedKernel,
  hostPlace,
  qemuPlace,
} from './plan.ts'
import { addJobs } from './queue.ts'
import { type Capacity, fitted, neededTime } from './reduce.ts'
import { buildJob, lookTask } from './side-jobs.ts'
import { workersOf } from './workers.ts'

export interface PrepareOptions {
  readonly place: NightPlace
  readonly night: number
  readonly file: NightFile
  /** Of QEMU. */
  readonly board: Board
  /** The machine we are on: sources that are files are built here. */
  readonly machine: string
  readonly estimates: ReadonlyMap<string, number>
  readonly news: News
  readonly signal: AbortSignal
  readonly onLog: (kind: string, text: string) => void
  /** Milliseconds for which workers and hosts are waited for. */
  readonly patienceMs: number
}

/** Everything that is decided before the first boot. */
export interface Prepared {
  readonly plan: Plan
  readonly kernels: readonly PlannedKernel[]
  readonly cells: readonly PlannedCell[]
  readonly leftOut: readonly PlannedCell[]
}

/**
 * Plans a night: which commits, which hosts as they are, which cases.
 *
 * @throws UsageError for what is wrong in the file or in scenarios
 */
export const prepareNight = async (
  options: PrepareOptions,
): Promise<Prepared> => {
  const { place, night, file, board, estimates, signal, onLog } = options
  const before = await nightsBefore(place.db, { name: file.name, id: night })
  const runs = runsTonight(file, before)
  if (runs.length === 0)
    throw new UsageError(
      'NO_CASES',
      `${file.path}: no run is for this night, the ${before + 1}th of '${file.name}'`,
    )
  const tonight = { ...file, runs }
  const kernels = await resolveKernels(tonight, {
    signal,
    onStep: text => {
      onLog('kernel', text)
    },
  })
  const floor = await awaitedFloor(tonight, options)
  const hosts = await lookedHosts(tonight, floor, options)
  const cells = await planCells(file, {
    kernels,
    nightsBefore: before,
    board,
    hosts,
    estimates,
  })
  if (cells.length === 0)
    throw new UsageError(
      'NO_CASES',
      `${file.path}: its runs have no case: no scenario is for these kernels, or no host answered`,
    )
  const capacity = capacityOf(tonight, floor, hosts)
  const bootable = cells.filter(cell => cell.places.length > 0)
  const neededMs = neededTime(bootable, capacity)
  const { budget } = file
  const { kept, leftOut, isTight } =
    budget === undefined
      ? { kept: bootable, leftOut: [], isTight: false }
      : fitted(bootable, {
          budgetMs: budget,
          capacity,
          night: String(before),
        })
  const plan: Plan = {
    name: file.name,
    label: file.label,
    file: file.path,
    targets: file.machines,
    policy: file.failures,
    bisect: file.failures.bisect,
    budgetMs: budget ?? null,
    release: file.release ?? null,
    keep: { nights: file.keep.nights ?? null, days: file.keep.days ?? null },
    reduction:
      leftOut.length === 0
        ? null
        : {
            cells: bootable.length,
            kept: kept.length,
            neededMs,
            budgetMs: budget ?? 0,
            isTight,
          },
    otherNights: file.runs
      .filter(run => !runs.includes(run))
      .map(
        ({ scenarios, every }) =>
          `${scenarios.join(', ')}: only every ${every} nights`,
      ),
    builtOn: Object.fromEntries(
      kernels.filter(isHere).map(({ name }) => [name, options.machine]),
    ),
    likes: Object.fromEntries(kernels.map(({ name, like }) => [name, like])),
    origins: Object.fromEntries(
      kernels.map(({ name, origin }) => [name, origin]),
    ),
  }
  return {
    plan,
    kernels,
    cells: [...kept, ...cells.filter(cell => cell.places.length === 0)],
    leftOut,
  }
}

/** Keeps what was prepared, and has the kernels built. */
export const beginNight = async (
  { place, night }: PrepareOptions,
  prepared: Prepared,
): Promise<void> => {
  await keepPlan(place.db, night, prepared)
  await wantKernels(place, night, prepared.plan)
}

/** Has kernels built that nobody builds: whoever led may have been killed. */
export const wantKernels = async (
  { db }: NightPlace,
  night: number,
  { builtOn }: Plan,
): Promise<void> => {
  const kernels = await kernelsOf(db, night)
  await addJobs(
    db,
    kernels
      .filter(({ state }) => state === 'wanted')
      .map(({ name }) => buildJob(night, name, builtOn[name] ?? null)),
  )
}

/** Its source is a file of the machine that leads the night. */
const isHere = ({ recipe }: PlannedKernel): boolean =>
  recipe.kind === 'built' || recipe.source.kind !== 'debian'

/** Workers come when they come: one that is needed is waited for. */
const awaitedFloor = async (
  { machines, runs }: Pick<NightFile, 'machines' | 'runs'>,
  { place, news, signal, onLog, patienceMs }: PrepareOptions,
): Promise<Floor> => {
  const names = [...new Set(runs.flatMap(run => run.machines))]
  const isOffered = (floor: Floor, name: string): boolean => {
    const target = machines[name]!
    return 'qemu' in target
      ? floor.slots.has(qemuPlace(target.qemu))
      : floor.hosts.some(host => isMeant(host, target.hosts))
  }
  let isTold = false
  return news.until({
    look: async () => new Floor(await workersOf(place.db), new Set()),
    isDone: floor => {
      const missing = names.filter(name => !isOffered(floor, name))
      if (missing.length === 0 && floor.builds(null)) return true
      if (!isTold) {
        const what = missing.length > 0 ? missing.join(', ') : 'builds'
        onLog('worker', `waiting for a worker that offers ${what}`)
        isTold = true
      }
      return false
    },
    patienceMs,
    signal,
  })
}

/** The hosts that are meant, each as it is found now. */
const lookedHosts = async (
  { machines, runs }: Pick<NightFile, 'machines' | 'runs'>,
  floor: Floor,
  { place, night, news, signal, onLog, patienceMs }: PrepareOptions,
): Promise<LookedHost[]> => {
  const words = [...new Set(runs.flatMap(run => run.machines))].flatMap(
    name => {
      const target = machines[name]!
      return 'hosts' in target ? target.hosts : []
    },
  )
  const offered = new Map(
    floor.hosts
      .filter(host => isMeant(host, words))
      .map(host => [host.name, host]),
  )
  if (offered.size === 0) return []
  onLog('host', `looking at ${[...offered.keys()].join(', ')}`)
  await addJobs(
    place.db,
    [...offered.keys()].map(name => ({
      task: lookTask(name),
      payload: { night },
      key: `look-${night}-${name}`,
      priority: -32_000,
      flags: [JOB],
      line: hostPlace(name),
    })),
  )
  const rows = await news.until({
    look: () =>
      place.db
        .selectFrom('night_hosts')
        .select(['host', 'found', 'message'])
        .where('night_id', '=', night)
        .where('host', 'in', [...offered.keys()])
        .execute(),
    isDone: hosts => hosts.length >= offered.size,
    patienceMs,
    signal,
  })
  const answers = new Map(rows.map(row => [row.host, row]))
  const looked: LookedHost[] = []
  for (const [name, host] of offered) {
    const answer = answers.get(name)
    if (answer?.found != null) {
      const found = JSON.parse(answer.found) as FoundMachine
      looked.push({ ...host, found })
      continue
    }
    const why = answer
      ? (answer.message ?? 'it did not answer')
      : 'nobody could look at it in time'
    await tell(place.db, night, 'host', `host ${name} takes no part: ${why}`)
  }
  return looked
}

const capacityOf = (
  { machines }: Pick<NightFile, 'machines'>,
  floor: Floor,
  hosts: readonly LookedHost[],
): Capacity => {
  const slots = (name: string): number => {
    const target = machines[name]
    // Where each host boots all, a cell's target is the host.
    if (!target) return 1
    return 'qemu' in target
      ? (floor.slots.get(qemuPlace(target.qemu)) ?? 1)
      : hosts.filter(host => isMeant(host, target.hosts)).length
  }
  return slots
}
