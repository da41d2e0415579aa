import fc from 'fast-check'
import type { Test } from 'tap'

const RUNS = 10_000

/**
 * Asserts that a property holds, with the smallest counterexample and its seed
 * when it does not.
 */
export const holds = <Ts>(
  t: Test,
  what: string,
  property: fc.IProperty<Ts>,
  numRuns = RUNS,
): void => {
  const details = fc.check<Ts>(property, { numRuns })
  if (details.failed) {
    const { counterexample, seed, counterexamplePath: path } = details
    t.fail(what, { counterexample: fc.stringify(counterexample), seed, path })
  } else t.pass(`${what} (${details.numRuns} runs)`)
}
