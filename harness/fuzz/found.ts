import { scenarioFile } from '../scenario/scenario-file.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Disagreement } from './campaign.ts'
import type { Violation } from './model-only.ts'

/** What was found, as a scenario file that shows it again. */

/** The scenario of a disagreement between model and kernel. */
export const foundScenario = (
  seed: number,
  { number, kernel, smallest, result }: Disagreement,
): string =>
  fileOf(
    { ...smallest, kernels: [kernel] },
    seed,
    number,
    result.reasons.map(({ message }) => message),
  )

/** The scenario of a layout that breaks an invariant. */
export const violatingScenario = (
  seed: number,
  { number, smallest, violations }: Violation,
): string => fileOf(smallest, seed, number, violations)

const fileOf = (
  input: CellInput,
  seed: number,
  number: number,
  messages: readonly string[],
): string =>
  scenarioFile({
    ...input,
    why: `found by tdxrig fuzz --seed ${seed} as number ${number}: ${messages.join('; ')}`,
  })
