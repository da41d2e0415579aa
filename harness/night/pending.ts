import type { Step } from './decide.ts'
import { type PlaceName, hostOf } from './plan.ts'

type Boot = Extract<Step, { readonly kind: 'boot' }>

/** A cell that is to be booted. */
export interface Ready {
  readonly cell: number
  readonly places: readonly PlaceName[]
  readonly estimateMs: number
  readonly step: Boot
}

/** Whether a place may boot it: a host is a place and a machine at once. */
export const suits = ({ places, step }: Ready, place: PlaceName): boolean => {
  const host = hostOf(place)
  return (
    places.includes(place) &&
    (host === undefined ||
      ((step.only === undefined || step.only === host) && step.not !== host))
  )
}

/**
 * Cells that wait for a place. Repeated boots come before first ones, so that
 * what has failed is known early; among first ones the longest come first, so
 * that none of them is left alone at the end.
 */
export class Pending {
  readonly #again: Ready[] = []
  /** First boots by where they can be made, each the longest first. */
  readonly #first = new Map<string, Ready[]>()

  /** @param cells in any order */
  addFirst(cells: readonly Ready[]): void {
    const touched = new Set<Ready[]>()
    for (const one of cells) {
      const key = one.places.join(' ')
      const group = this.#first.get(key) ?? []
      this.#first.set(key, group)
      group.push(one)
      touched.add(group)
    }
    // The longest at the end, where it is cheap to take.
    for (const group of touched)
      group.sort((a, b) => a.estimateMs - b.estimateMs || b.cell - a.cell)
  }

  addAgain(one: Ready): void {
    this.#again.push(one)
  }

  /** What this place is to boot next; undefined: nothing. */
  take(place: PlaceName): Ready | undefined {
    const at = this.#again.findIndex(one => suits(one, place))
    if (at >= 0) return this.#again.splice(at, 1)[0]
    let best: Ready[] | undefined
    for (const group of this.#first.values()) {
      const head = group.at(-1)
      if (!head || !suits(head, place)) continue
      if (!best || head.estimateMs > best.at(-1)!.estimateMs) best = group
    }
    return best?.pop()
  }

  /** Everything that cannot be booted is taken out. */
  takeOut(canBoot: (one: Ready) => boolean): Ready[] {
    const out: Ready[] = []
    const sift = (list: Ready[]): void => {
      const kept = list.filter(one => canBoot(one) || !out.push(one))
      list.splice(0, list.length, ...kept)
    }
    sift(this.#again)
    for (const group of this.#first.values()) {
      // All of a group can be booted in the same places.
      if (group[0] && !canBoot(group[0])) sift(group)
    }
    return out
  }
}
