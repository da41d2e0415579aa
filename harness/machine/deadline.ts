import { GIB } from '../base/units.ts'
import type { MachineSpec } from '../scenario/machine-spec.ts'

/** Milliseconds. */
export interface Deadlines {
  readonly silence: number
  readonly total: number
}

/**
 * Long enough that only a dead guest reaches them: a boot of a 4 GiB machine
 * takes half a second, one of 256 GiB fifteen seconds.
 */
export const deadlinesFor = ({ memory, cpus }: MachineSpec): Deadlines => {
  const scale = 1 + memory.size / (64 * GIB) + cpus / 16
  return { silence: 30_000 * scale, total: 120_000 * scale }
}

/** Fires once when nothing happened for too long, or all took too long. */
export class Watchdog {
  readonly #deadlines: Deadlines
  readonly #fire: (reason: 'silence' | 'deadline') => void
  #silence: NodeJS.Timeout
  readonly #total: NodeJS.Timeout

  constructor(
    deadlines: Deadlines,
    fire: (reason: 'silence' | 'deadline') => void,
  ) {
    this.#deadlines = deadlines
    this.#fire = fire
    this.#silence = this.#arm()
    this.#total = setTimeout(fire, deadlines.total, 'deadline')
  }

  /** A sign of life. */
  touch(): void {
    this.#silence.refresh()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#silence)
    clearTimeout(this.#total)
  }

  #arm(): NodeJS.Timeout {
    return setTimeout(this.#fire, this.#deadlines.silence, 'silence')
  }
}
