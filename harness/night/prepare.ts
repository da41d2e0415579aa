import { UsageError } from '../base/errors.ts'
import type { Board, FoundMachine } from '../board/index.ts'
import { JOB } from './attempts.ts'
import {
  type AbsentHost,
  type LookedHost,
  isMeant,
  planCells,
  runsTonight,
} from './cells.ts'
import type { NightPlace } from './database.ts'
import { tell } from './events.ts'
import { Floor } from './floor.ts'
import { resolveKernels } from './kernels.ts'
import type { News } from './news.ts'
import { keepPlan, kernelsOf } from './nights.ts'
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
  /** Nights of its name before it. */
  readonly turn: number
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
  /** No other process can take part: its offer is all there will be. */
  readonly isAlone: boolean
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
  const { turn, file, board, estimates, signal, onLog } = options
  const runs = runsTonight(file, turn)
  if (runs.length === 0)
    throw new UsageError(
      'NO_CASES',
      `${file.path}: no run is for this night, number ${turn + 1} of '${file.name}'`,
    )
  const tonight = { ...file, runs }
  signal.throwIfAborted()
  const kernels = await resolveKernels(tonight, {
    signal,
    onStep: text => {
      onLog('kernel', text)
    },
  })
  const floor = await awaitedFloor(tonight, options)
  const { hosts, absent } = await lookedHosts(tonight, floor, options)
  const cells = await planCells(file, {
    kernels,
    turn,
    board,
    hosts,
    absent,
    unoffered: options.isAlone ? unofferedBy(floor, tonight) : new Map(),
    estimates,
  })
  signal.throwIfAborted()
  if (cells.length === 0)
    throw new UsageError(
      'NO_CASES',
      `${file.path}: its runs have no case: no scenario is for these kernels`,
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
          night: String(turn),
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

type Machines = Pick<NightFile, 'machines' | 'runs'>

const namesOf = ({ runs }: Machines): string[] => [
  ...new Set(runs.flatMap(run => run.machines)),
]

const isOffered = (
  { slots, hosts }: Floor,
  name: string,
  { machines }: Machines,
): boolean => {
  const target = machines[name]!
  return 'qemu' in target
    ? slots.has(qemuPlace(target.qemu))
    : hosts.some(host => isMeant(host, target.hosts))
}

/** A machine as people look for it. */
const wantedText = (name: string, { machines }: Machines): string => {
  const target = machines[name]!
  return `${name} (${'qemu' in target ? `qemu: ${target.qemu}` : `hosts: ${target.hosts.join(', ')}`})`
}

/** Guests that this process does not boot, where there is no other one. */
const unofferedBy = (
  floor: Floor,
  tonight: Machines,
): ReadonlyMap<string, string> =>
  new Map(
    namesOf(tonight).flatMap(name => {
      const target = tonight.machines[name]!
      if (!('qemu' in target) || floor.mayBoot(qemuPlace(target.qemu)))
        return []
      return [
        [
          name,
          target.qemu === 'kvm'
            ? "this machine does not offer KVM: no run ('tdxrig run') has proven since its start that KVM works here"
            : 'this process boots no guests',
        ] as const,
      ]
    }),
  )

/** Workers come when they come: one that is needed is waited for. */
const awaitedFloor = async (
  tonight: Machines,
  { place, news, signal, onLog, patienceMs, isAlone }: PrepareOptions,
): Promise<Floor> => {
  const names = namesOf(tonight)
  let isTold = false
  return news.until({
    look: async () => new Floor(await workersOf(place.db), new Set()),
    isDone: floor => {
      const missing = names.filter(name => !isOffered(floor, name, tonight))
      if (isAlone || (missing.length === 0 && floor.builds(null))) return true
      if (!isTold) {
        const what =
          missing.map(name => wantedText(name, tonight)).join(', ') || 'builds'
        onLog(
          'worker',
          `waiting up to ${Math.round(patienceMs / 1000)} s for a worker that offers ${what}`,
        )
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
): Promise<{
  readonly hosts: readonly LookedHost[]
  readonly absent: readonly AbsentHost[]
}> => {
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
  if (offered.size === 0) return { hosts: [], absent: [] }
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
  const hosts: LookedHost[] = []
  const absent: AbsentHost[] = []
  for (const [name, host] of offered) {
    const answer = answers.get(name)
    if (answer?.found != null) {
      const found = JSON.parse(answer.found) as FoundMachine
      hosts.push({ ...host, found })
      continue
    }
    const why = answer
      ? (answer.message ?? 'it did not answer')
      : 'nobody could look at it in time'
    absent.push({ ...host, why })
    await tell(place.db, night, 'host', `host ${name} takes no part: ${why}`)
  }
  return { hosts, absent }
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
