import { setImmediate } from 'node:timers/promises'
import { sizeText } from '../base/units.ts'
import type { Board } from '../board/index.ts'
import type { Outcome, Stage } from '../tdx/outcome.ts'
import type { Prediction, PredictionOptions } from '../judge/prediction.ts'
import { predictCase } from '../judge/prediction.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import { e820TypeByName, e820TypeName } from '../memory/e820.ts'
import { type CellInput, cellSchema } from '../scenario/schema.ts'
import { bootableScenario } from './bootable.ts'
import { shrink } from './shrink.ts'

/** What must stay while a scenario gets smaller. */
export interface Target {
  readonly outcome: Outcome
  readonly stage: Stage | null
}

export const isSameTarget = (
  a: Target | undefined,
  b: Target | undefined,
): boolean => a !== undefined && a.outcome === b?.outcome && a.stage === b.stage

/** How a scenario ends by the model, and of what. */
export interface ModelledEnding extends Target {
  readonly errno: number | null
  /** There are too many holes, whatever PAMTs come on top of them. */
  readonly byHoles: boolean
}

/** What is known of the machine and the kernel that a scenario runs on. */
export interface Subject {
  readonly board: Board
  readonly kernel: PredictionOptions
}

/** How a scenario ends by the model; undefined where that is open. */
export const endingByModel = (
  input: CellInput,
  { board, kernel }: Subject,
): ModelledEnding | undefined => {
  const scenario = bootableScenario(input, board)
  const prediction = scenario && predictCase(scenario.body, kernel)
  return (
    prediction?.outcome && {
      ...prediction.outcome,
      byHoles: tooManyHoles(prediction),
    }
  )
}

const tooManyHoles = ({ layout, outcome }: Prediction): boolean =>
  outcome?.stage === 'reserved-areas' &&
  layout.tdmrs.some(
    ({ holes }) => holes.length > MODULE_LIMITS.maxReservedPerTdmr,
  )

/** More candidates than it takes; a defect of the rig must not hang. */
const MODEL_BUDGET = 50_000
/** So many are tried before signals are looked at. */
const AT_ONCE = 50

/** A scenario to be made smaller, and what must stay. */
interface Minimising<Kept> {
  readonly input: CellInput
  readonly target: Kept
  readonly subject: Subject
  readonly signal: AbortSignal
}

/** The smallest scenario that ends alike by the model, and of the same. */
export const minimiseOnModel = ({
  input,
  target,
  subject,
  signal,
}: Minimising<ModelledEnding>): Promise<CellInput> =>
  shrink(input, {
    valid: candidate => isBootable(candidate, subject.board),
    failing: async candidates => {
      await setImmediate()
      if (signal.aborted) return undefined
      const index = candidates.findIndex(candidate => {
        const ending = endingByModel(candidate, subject)
        return (
          isSameTarget(target, ending) && ending?.byHoles === target.byHoles
        )
      })
      return index < 0 ? undefined : index
    },
    width: AT_ONCE,
    budget: MODEL_BUDGET,
  })

const isBootable = (input: CellInput, board: Board): boolean =>
  bootableScenario(input, board) !== undefined

/** How boots of scenarios ended, in their order. */
export type BootAll = (
  candidates: readonly CellInput[],
) => Promise<readonly (Target | undefined)[]>

export interface BootMinimising {
  readonly input: CellInput
  readonly target: Target
  readonly board: Board
  readonly bootAll: BootAll
  /** How many boot at a time, and how many in all. */
  readonly limits: { readonly width: number; readonly budget: number }
}

/** The smallest scenario whose boots end alike. */
export const minimiseByBoots = ({
  input,
  target,
  board,
  bootAll,
  limits,
}: BootMinimising): Promise<CellInput> =>
  shrink(input, {
    valid: candidate => isBootable(candidate, board),
    failing: async candidates => {
      const endings = await bootAll(candidates)
      const index = endings.findIndex(ending => isSameTarget(target, ending))
      return index < 0 ? undefined : index
    },
    ...limits,
  })

/**
 * A cell in the form in which it can be made smaller: addresses as text, the
 * map as a list, and nothing expected but what comes.
 */
export const reducible = (input: CellInput): CellInput => {
  const firmware = cellSchema.safeParse({
    ...input,
    expect: { tdx: 'predicted' },
  }).data?.machine.firmware
  const machine = withText(input.machine)
  return {
    ...input,
    machine: {
      ...machine,
      ...(firmware?.e820 && {
        firmware: {
          ...machine.firmware,
          e820: firmware.e820.map(({ start, end, type }) => ({
            start: sizeText(start),
            end: sizeText(end),
            type: typeText(type),
          })),
        },
      }),
    },
    ...(input.tdx && { tdx: withText(input.tdx) }),
    expect: { tdx: 'predicted' },
  }
}

/** Some types share their name with another. */
const typeText = (type: number): string | number => {
  const name = e820TypeName(type)
  return e820TypeByName(name) === type ? name : type
}

/** Sizes and addresses that YAML read as numbers. */
const SIZES = new Set(['start', 'end', 'memory'])

const withText = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value), (key, one: unknown) =>
    SIZES.has(key) && typeof one === 'number' ? sizeText(one) : one,
  ) as T
