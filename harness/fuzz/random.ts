import { uniformInt } from 'pure-rand/distribution/uniformInt'
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus'

/** Numbers that follow from a seed, and nothing else. */
export class Random {
  readonly #generator: ReturnType<typeof xoroshiro128plus>

  /** @param stream streams of one seed are independent of each other */
  constructor(seed: number, stream: number) {
    // Two odd constants spread neighbours over all 32 bits.
    const mixed = Math.imul(seed ^ Math.imul(stream, 0x85ebca6b), 0x9e3779b1)
    this.#generator = xoroshiro128plus(mixed)
  }

  /** A whole number, both ends included. */
  int(min: number, max: number): number {
    return uniformInt(this.#generator, min, max)
  }

  /** True once in `times`. */
  onceIn(times: number): boolean {
    return this.int(1, times) === 1
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)]!
  }

  /** As many as `count` makes, one after the other. */
  times<T>(count: number, make: (index: number) => T): T[] {
    return Array.from({ length: count }, (_, i) => make(i))
  }

  shuffle<T>(list: readonly T[]): T[] {
    const left = [...list]
    return this.times(
      list.length,
      () => left.splice(this.int(0, left.length - 1), 1)[0]!,
    )
  }
}
