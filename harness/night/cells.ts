import { type Board, type FoundMachine, foundBoard } from '../board/index.ts'
import { recipeNames } from '../kernel/recipe.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import type { NightFile, Target, WrittenRun } from './plan-file.ts'
import {
  type PlannedCell,
  type PlannedKernel,
  hostPlace,
  qemuPlace,
} from './plan.ts'

/** A physical host that some worker offers, and was looked at. */
export interface LookedHost {
  readonly name: string
  readonly labels: readonly string[]
  readonly found: FoundMachine
}

/** A host that is meant, and takes no part. */
export interface AbsentHost {
  readonly name: string
  readonly labels: readonly string[]
  readonly why: string
}

export interface CellOptions {
  readonly kernels: readonly PlannedKernel[]
  /** Nights of its name before this one. */
  readonly turn: number
  /** Of QEMU. */
  readonly board: Board
  readonly hosts: readonly LookedHost[]
  readonly absent: readonly AbsentHost[]
  /** Machines for guests that nobody offers, or will, and why. */
  readonly unoffered: ReadonlyMap<string, string>
  /** Milliseconds a case took in other nights, by its id. */
  readonly estimates: ReadonlyMap<string, number>
}

/** Milliseconds of a case that was never booted. */
const QEMU_CASE = 1_500
const HOST_CASE = 120_000

/** Runs that are made this night. @param turn nights of its name before it */
export const runsTonight = (
  { runs }: Pick<NightFile, 'runs'>,
  turn: number,
): WrittenRun[] => runs.filter(({ every }) => turn % every === 0)

/**
 * Every case of a night, on each kernel and machine that its runs name. Those
 * of machines that are not there are cases as well: what was not run is told.
 *
 * @throws UsageError with everything that is wrong in any scenario
 */
export const planCells = async (
  file: Pick<NightFile, 'runs' | 'machines'>,
  options: CellOptions,
): Promise<PlannedCell[]> => {
  const cells = new Map<string, PlannedCell>()
  // Ids go by all runs: they stay the same from night to night.
  for (const run of runsTonight(file, options.turn))
    for (const name of run.machines)
      for (const cell of await cellsOn(name, file, run, options)) {
        const known = cells.get(cell.id)
        const repeat = Math.max(known?.repeat ?? 1, cell.repeat)
        cells.set(cell.id, { ...cell, repeat })
      }
  return [...cells.values()]
}

const cellsOn = async (
  name: string,
  { machines, runs }: Pick<NightFile, 'runs' | 'machines'>,
  run: WrittenRun,
  options: CellOptions,
): Promise<PlannedCell[]> => {
  const target = machines[name]
  if (!target) throw new TypeError('the file was checked')
  if ('qemu' in target) {
    // Ids stay those of a run, as long as nothing else has them.
    const targets = runs.flatMap(one => one.machines)
    const isOnly = targets.every(other => {
      const its = machines[other]
      return other === name || !its || !('qemu' in its)
    })
    const cases = await casesOn(run, options, {
      board: options.board,
      ...(!isOnly && { host: name }),
    })
    const why = options.unoffered.get(name)
    return cases.map(item =>
      cellOf(item, {
        target: name,
        places: why === undefined ? [qemuPlace(target.qemu)] : [],
        isOffered: why === undefined,
        repeat: run.repeat,
        usualMs: QEMU_CASE,
        estimates: options.estimates,
        note: why ?? null,
      }),
    )
  }
  return hostCells(name, target, run, options)
}

const hostCells = async (
  name: string,
  target: Extract<Target, { readonly hosts: readonly string[] }>,
  run: WrittenRun,
  options: CellOptions,
): Promise<PlannedCell[]> => {
  const hosts = options.hosts.filter(host => isMeant(host, target.hosts))
  const cells = new Map<string, PlannedCell>()
  for (const host of hosts) {
    const cases = await casesOn(run, options, {
      board: foundBoard(host.found),
      host: target.spread === 'each' ? host.name : name,
    })
    for (const item of cases) {
      const known = cells.get(item.id)
      const { unsuitable } = item
      cells.set(
        item.id,
        cellOf(item, {
          target: target.spread === 'each' ? host.name : name,
          places: [
            ...(known?.places ?? []),
            ...(unsuitable === undefined ? [hostPlace(host.name)] : []),
          ],
          isOffered: true,
          repeat: run.repeat,
          usualMs: HOST_CASE,
          estimates: options.estimates,
          note: unsuitable ?? known?.note ?? null,
        }),
      )
    }
  }
  return [
    ...[...cells.values()].map(cell =>
      cell.places.length > 0 ? { ...cell, note: null } : cell,
    ),
    ...(await absentCells(name, target, run, options)),
  ]
}

/** Cases that would be booted if hosts were there. */
const absentCells = async (
  name: string,
  {
    hosts: words,
    spread,
  }: Extract<Target, { readonly hosts: readonly string[] }>,
  run: WrittenRun,
  options: CellOptions,
): Promise<PlannedCell[]> => {
  const absent = options.absent.filter(host => isMeant(host, words))
  const isAnyThere = options.hosts.some(host => isMeant(host, words))
  const targets =
    spread === 'each'
      ? absent.map(({ name: host, why }) => ({
          host,
          why: `host ${host}: ${why}`,
        }))
      : []
  if (!isAnyThere && targets.length === 0)
    targets.push({
      host: name,
      why:
        absent
          .map(({ name: host, why }) => `host ${host}: ${why}`)
          .join('; ') || `no worker offers ${words.join(' or ')}`,
    })
  const cells: PlannedCell[] = []
  for (const { host, why } of targets)
    // What it suits is not known: its board is, as far as names go, any.
    for (const item of await casesOn(run, options, {
      board: options.board,
      host,
    }))
      cells.push(
        cellOf(item, {
          target: host,
          places: [],
          isOffered: false,
          repeat: run.repeat,
          usualMs: HOST_CASE,
          estimates: options.estimates,
          note: why,
        }),
      )
  return cells
}

/** A name or a label stands for a host. */
export const isMeant = (
  { name, labels }: Pick<LookedHost, 'name' | 'labels'>,
  words: readonly string[],
): boolean => words.some(word => word === name || labels.includes(word))

const casesOn = async (
  { scenarios, kernels: asked }: WrittenRun,
  { kernels }: CellOptions,
  on: { readonly board: Board; readonly host?: string },
): Promise<Case[]> => {
  const recipes = await recipeNames()
  const cases = await loadCases(scenarios, {
    kernels: [...new Set([...recipes, ...kernels.map(({ name }) => name)])],
    onlyKernels: asked,
    ...on,
  })
  const likes = new Map(kernels.map(({ name, like }) => [name, like]))
  return cases.filter(({ input, kernel }) => {
    const named = input.kernels
    // A scenario may be about some kernels alone, or those like them.
    return (
      named === undefined ||
      named.includes(kernel) ||
      named.includes(likes.get(kernel) ?? '')
    )
  })
}

const cellOf = (
  { id, kernel, scenario, input, matrix }: Case,
  {
    target,
    places,
    isOffered,
    repeat,
    usualMs,
    estimates,
    note,
  }: Pick<
    PlannedCell,
    'target' | 'places' | 'isOffered' | 'repeat' | 'note'
  > & {
    readonly usualMs: number
    readonly estimates: ReadonlyMap<string, number>
  },
): PlannedCell => ({
  id,
  kernel,
  target,
  scenario,
  input,
  values: matrix,
  places,
  isOffered,
  estimateMs: estimates.get(id) ?? usualMs,
  repeat,
  note,
})
