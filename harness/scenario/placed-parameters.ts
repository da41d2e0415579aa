import { PLACE, hasPlace, resolvePlaces } from '../memory/places.ts'
import { type MachineSpec, bootMemory } from './machine-spec.ts'
import type { Problem } from './problem.ts'

/** Parameters with addresses for places, and places that the machine lacks. */
interface Placed<Parameters> {
  readonly parameters: Parameters
  readonly unplaced: readonly Problem[]
}

/** Their places as addresses; what has none is a problem, and stands for 0. */
export const placeParameters = <Parameters extends { memmap: string[] }>(
  parameters: Parameters,
  machine: MachineSpec | undefined,
  at: Problem['at'],
): Placed<Parameters> => {
  const { memmap } = parameters
  if (!memmap.some(hasPlace)) return { parameters, unplaced: [] }
  const memory = machine && bootMemory(machine)
  const placed = memmap.map(value =>
    memory ? resolvePlaces(value, memory) : { value },
  )
  const values = placed.map((one, i) =>
    ('value' in one ? one.value : memmap[i]!).replaceAll(PLACE, '0'),
  )
  return {
    parameters: { ...parameters, memmap: values },
    unplaced: placed.flatMap((one, i) =>
      'error' in one ? [{ at: [...at, 'memmap', i], message: one.error }] : [],
    ),
  }
}
