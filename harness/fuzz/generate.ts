import { type Board, modelOf } from '../board/board.ts'
import { bootableScenario } from '../reproduce/bootable.ts'
import type { BuiltScenario } from '../scenario/build.ts'
import { mappedMachine, nodesMachine, sratMachine } from './machines.ts'
import { randomParameters } from './parameters.ts'
import { Random } from './random.ts'

const MACHINES = [
  nodesMachine,
  nodesMachine,
  mappedMachine,
  mappedMachine,
  sratMachine,
]

/** More attempts than it ever takes; a defect of the rig must not hang. */
const ATTEMPTS = 1000

/** Which random scenario is meant. */
export interface RandomName {
  readonly seed: number
  readonly number: number
  /** What the machines are built on. */
  readonly board: Board
}

/**
 * The scenario with this number: the same for the same seed, whatever else is
 * made of it.
 */
export const randomScenario = ({
  seed,
  number,
  board,
}: RandomName): BuiltScenario => {
  const random = new Random(seed, number)
  const name = `seed ${seed}, number ${number}`
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { machine, ram } = random.pick(MACHINES)(random, modelOf(board))
    const scenario = bootableScenario(
      {
        name,
        why: 'a random layout, on which model and kernel must agree',
        machine,
        cmdline: randomParameters(random, ram),
        expect: { tdx: 'predicted' },
      },
      board,
    )
    if (scenario) return scenario
  }
  throw new TypeError(`seed ${seed} makes no scenario ${number}`)
}
