import { messagesOf } from '../judge/case-outcome.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Disagreement } from './campaign.ts'
import type { Violation } from './model-only.ts'

/** What was found, as a scenario file that shows it again. */

/** The scenario of a disagreement between model and kernel. */
export const foundScenario = (
  seed: number,
  { number, kernel, smallest, outcome }: Disagreement,
): string =>
  fileOf({
    input: { ...smallest, kernels: [kernel] },
    seed,
    number,
    messages: messagesOf(outcome),
  })

/** The scenario of a layout that breaks an invariant. */
export const violatingScenario = (
  seed: number,
  { number, smallest, violations }: Violation,
): string => fileOf({ input: smallest, seed, number, messages: violations })

interface Found {
  readonly input: CellInput
  readonly seed: number
  readonly number: number
  readonly messages: readonly string[]
}

const fileOf = ({ input, seed, number, messages }: Found): string =>
  scenarioFile({
    ...input,
    why: `found by tdxrig fuzz --seed ${seed} as number ${number}: ${messages.join('; ')}`,
  })
