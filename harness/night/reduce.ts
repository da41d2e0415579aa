import { createHash } from 'node:crypto'
import type { PlannedCell } from './plan.ts'

/** How much can be done at once, by target. */
export type Capacity = (target: string) => number

/**
 * How long cells take, in milliseconds: each target works through its own, and
 * all targets at once.
 */
export const neededTime = (
  cells: readonly PlannedCell[],
  capacity: Capacity,
): number => {
  const perTarget = new Map<string, number>()
  for (const { target, estimateMs, repeat } of cells)
    perTarget.set(target, (perTarget.get(target) ?? 0) + estimateMs * repeat)
  return Math.max(
    0,
    ...[...perTarget].map(([target, ms]) => ms / Math.max(1, capacity(target))),
  )
}

/**
 * What distinguishes a cell, as factors of a matrix: the scenario, the values
 * its own matrix set, the kernel and the machine.
 */
const factorsOf = ({
  scenario,
  values,
  kernel,
  target,
}: PlannedCell): string[] => [
  `scenario ${scenario}`,
  ...values.map(value => `${scenario} ${value}`),
  `kernel ${kernel}`,
  `machine ${target}`,
]

/** All pairs of its factors. */
export const pairsOf = (cell: PlannedCell): string[] => {
  const factors = factorsOf(cell)
  return factors.flatMap((one, i) =>
    factors.slice(i + 1).map(other => `${one}\n${other}`),
  )
}

/**
 * Cells in the order in which they are worth most: first those that together
 * show each pair of scenario, value, kernel and machine that any cell shows,
 * each as it adds most new pairs; then all others. Among equals each night
 * takes other ones.
 *
 * @param night any text that is another one each night
 * @returns the cells, and how many of the first cover all pairs
 */
export const byPairs = (
  cells: readonly PlannedCell[],
  night: string,
): { readonly ordered: readonly PlannedCell[]; readonly covering: number } => {
  const lot = (cell: PlannedCell): string =>
    createHash('sha256').update(`${night}\n${cell.id}`).digest('hex')
  const open = cells
    .map(cell => ({ cell, pairs: pairsOf(cell), lot: lot(cell) }))
    .sort((a, b) => a.lot.localeCompare(b.lot))
  const covered = new Set<string>()
  const chosen: PlannedCell[] = []
  // Lazy greedy: what a cell adds only ever gets less, so that the best by an
  // old count that is still the best by a new one is the best of all.
  const waiting = open.map(entry => ({ ...entry, gain: entry.pairs.length }))
  waiting.sort((a, b) => b.gain - a.gain || a.lot.localeCompare(b.lot))
  while (waiting.length > 0) {
    const best = waiting.shift()!
    const gain = best.pairs.filter(pair => !covered.has(pair)).length
    if (gain === 0) continue
    if (waiting[0] && gain < waiting[0].gain) {
      best.gain = gain
      waiting.splice(placeFor(waiting, gain), 0, best)
      continue
    }
    for (const pair of best.pairs) covered.add(pair)
    chosen.push(best.cell)
  }
  const taken = new Set(chosen)
  return {
    ordered: [
      ...chosen,
      ...open.map(({ cell }) => cell).filter(cell => !taken.has(cell)),
    ],
    covering: chosen.length,
  }
}

/** The first place behind all that gain at least as much. */
const placeFor = (
  sorted: readonly { readonly gain: number }[],
  gain: number,
): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]!.gain >= gain) low = middle + 1
    else high = middle
  }
  return low
}

/** Cells that fit a budget, and whether any had to go. */
export interface Fitted {
  readonly kept: readonly PlannedCell[]
  readonly leftOut: readonly PlannedCell[]
  /** Not even one cell for each pair fits: the budget ends the night. */
  readonly isTight: boolean
}

/**
 * The cells of a night: all, or what covers all pairs and as many more as the
 * budget allows.
 */
export const fitted = (
  cells: readonly PlannedCell[],
  {
    budgetMs,
    capacity,
    night,
  }: {
    readonly budgetMs: number
    readonly capacity: Capacity
    readonly night: string
  },
): Fitted => {
  if (neededTime(cells, capacity) <= budgetMs)
    return { kept: cells, leftOut: [], isTight: false }
  const { ordered, covering } = byPairs(cells, night)
  const used = new Map<string, number>()
  const kept = new Set<PlannedCell>()
  ordered.forEach((cell, i) => {
    const { target, estimateMs, repeat } = cell
    const ms =
      (used.get(target) ?? 0) +
      (estimateMs * repeat) / Math.max(1, capacity(target))
    // What covers the pairs is wanted whether it fits or not.
    if (i >= covering && ms > budgetMs) return
    used.set(target, ms)
    kept.add(cell)
  })
  return {
    kept: cells.filter(cell => kept.has(cell)),
    leftOut: cells.filter(cell => !kept.has(cell)),
    isTight: Math.max(0, ...used.values()) > budgetMs,
  }
}
