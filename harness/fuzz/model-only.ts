import { layoutOn } from '../judge/prediction.ts'
import type { CellInput } from '../scenario/schema.ts'
import { ALL_SERIES } from '../tdx/series/index.ts'
import type { Board } from '../board/index.ts'
import { bootableScenario } from '../reproduce/bootable.ts'
import type { BuiltScenario } from '../scenario/build.ts'
import { randomScenario } from './generate.ts'
import { violations } from './invariants.ts'
import { shrink } from '../reproduce/shrink.ts'

/** A layout of the model's that breaks one of its invariants. */
export interface Violation {
  readonly number: number
  readonly smallest: CellInput
  readonly violations: readonly string[]
}

export interface ModelReport {
  layouts: number
  readonly found: Violation[]
}

/** A violation is never alone; a few are enough to see what is wrong. */
const ENOUGH = 5

/** Layouts cost little; a few seconds of them are enough. */
const SHRINK_BUDGET = 500

/** Where the kernel image lies does not matter here, only that it is known. */
const KERNEL_IMAGE = { start: 16 << 20, end: 40 << 20 }

/** What is wrong with the layouts of a scenario, with the rules of each kernel. */
const violationsOf = ({ body }: BuiltScenario): string[] =>
  ALL_SERIES.flatMap(({ name, memoryRules }) => {
    const layout = layoutOn(body, {
      rules: memoryRules,
      kernelImage: KERNEL_IMAGE,
    })
    const kernel = { image: KERNEL_IMAGE, rules: memoryRules }
    return violations(body, layout, kernel).map(text => `${name}: ${text}`)
  })

/** Which layouts are looked at, and for how long. */
export interface ModelCampaign {
  readonly seed: number
  readonly count: number
  /** performance.now() at which it ends. */
  readonly until: number
  readonly board: Board
  readonly signal: AbortSignal
}

/** Checks the invariants on random layouts, without booting. */
export const checkModel = async ({
  seed,
  count,
  until,
  board,
  signal,
}: ModelCampaign): Promise<ModelReport> => {
  const report: ModelReport = { layouts: 0, found: [] }
  for (let number = 0; number < count; number++) {
    if (performance.now() >= until || report.found.length >= ENOUGH) break
    // Signals are seen between two turns of the event loop only.
    if (number % 256 === 0) await new Promise(setImmediate)
    if (signal.aborted) break
    const scenario = randomScenario({ seed, number, board })
    report.layouts++
    if (violationsOf(scenario).length === 0) continue
    const smallest = await shrink(scenario.input, {
      valid: candidate => bootableScenario(candidate, board) !== undefined,
      failing: candidates => {
        const index = candidates.findIndex(
          candidate =>
            violationsOf(bootableScenario(candidate, board)!).length > 0,
        )
        return Promise.resolve(index < 0 ? undefined : index)
      },
      width: 8,
      budget: SHRINK_BUDGET,
    })
    report.found.push({
      number,
      smallest,
      violations: violationsOf(bootableScenario(smallest, board)!),
    })
  }
  return report
}
