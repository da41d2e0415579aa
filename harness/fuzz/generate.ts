import { type BootableScenario, scenarioOf } from '../reproduce/bootable.ts'
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

/** More attempts than it ever takes; a defect of ours must not hang. */
const ATTEMPTS = 1000

/**
 * The scenario with this number: the same for the same seed, whatever else is
 * made of it.
 */
export const randomScenario = (
  seed: number,
  number: number,
): BootableScenario => {
  const random = new Random(seed, number)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const scenario = attemptScenario(random, `seed ${seed}, number ${number}`)
    if (scenario) return scenario
  }
  throw new TypeError(`seed ${seed} makes no scenario ${number}`)
}

const attemptScenario = (
  random: Random,
  name: string,
): BootableScenario | undefined => {
  const { machine, ram } = random.pick(MACHINES)(random)
  return scenarioOf({
    name,
    why: 'a random layout, on which model and kernel must agree',
    machine,
    cmdline: randomParameters(random, ram),
    expect: { tdx: 'predicted' },
  })
}
