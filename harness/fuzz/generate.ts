import { MIB } from '../base/units.ts'
import type { Layout } from '../memory/predict.ts'
import { type Range, intersect, sizeOf, totalSize } from '../memory/range.ts'
import { type CaseBody, caseBody } from '../scenario/case.ts'
import { type CellInput, cellSchema } from '../scenario/schema.ts'
import { HOST_KERNELS, LINEAGES } from '../tdx/host.ts'
import { layoutOn } from '../judge/prediction.ts'
import { mappedMachine, nodesMachine, sratMachine } from './machines.ts'
import { randomParameters } from './parameters.ts'
import { Random } from './random.ts'

/** A layout nobody thought of, ready to be written to a file and booted. */
export interface RandomScenario {
  readonly input: CellInput
  readonly body: CaseBody
}

const MACHINES = [
  ...[nodesMachine, nodesMachine, mappedMachine, mappedMachine],
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
): RandomScenario => {
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
): RandomScenario | undefined => {
  const { machine, ram } = random.pick(MACHINES)(random)
  return scenarioOf({
    name,
    why: 'a random layout, on which model and kernel must agree',
    machine,
    cmdline: randomParameters(random, ram),
    expect: { tdx: 'predicted' },
  })
}

/** Undefined for what is no valid scenario, or no machine a kernel lives on. */
export const scenarioOf = (input: CellInput): RandomScenario | undefined => {
  const parsed = cellSchema.safeParse(input)
  if (!parsed.success) return undefined
  const built = caseBody(parsed.data)
  if ('problems' in built) return undefined
  const { body } = built
  const alive = LINEAGES.every(lineage =>
    canLive(layoutOn(body, HOST_KERNELS[lineage].memoryRules, undefined)),
  )
  return alive ? { input, body } : undefined
}

/** The smallest kernel needs this much in all, and in one piece. */
const NEEDED = 320 * MIB
const NEEDED_AT_ONCE = 96 * MIB

/** Drivers need some of it below 4 GiB. */
const LOW: Range = { start: MIB, end: 4096 * MIB }

const canLive = ({ invalidMap, dies, memblock }: Layout): boolean => {
  const low = memblock.flatMap(piece => intersect(piece, LOW) ?? [])
  return (
    !invalidMap &&
    dies?.of !== 'trampoline' &&
    totalSize(memblock) >= NEEDED &&
    Math.max(0, ...low.map(sizeOf)) >= NEEDED_AT_ONCE
  )
}

/** It can be written to a file and booted. */
export const isBootable = (input: CellInput): boolean =>
  scenarioOf(input) !== undefined
