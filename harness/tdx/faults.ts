import { LEAF } from './leaves.ts'
import type { Fault } from './platform.ts'

/** Counts which faults of a platform happened, and how often. */
export class Faults {
  readonly #faults: readonly Fault[]
  readonly #hits = new Map<Fault, number>()

  constructor(faults: readonly Fault[]) {
    this.#faults = faults
  }

  /** Faults that no call ever met. */
  get unmet(): readonly Fault[] {
    return this.#faults.filter(fault => !this.#hits.has(fault))
  }

  /** The status this call must fail with, if any; counts it. */
  answer(leaf: number, cpu: number): bigint | undefined {
    for (const fault of this.#faults) {
      if (LEAF[fault.leaf] !== leaf) continue
      if (fault.cpu !== undefined && fault.cpu !== cpu) continue
      const hits = this.#hits.get(fault) ?? 0
      if (hits >= fault.times) continue
      this.#hits.set(fault, hits + 1)
      return fault.status
    }
    return undefined
  }
}
