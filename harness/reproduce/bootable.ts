import { MIB } from '../base/units.ts'
import type { Board } from '../board/index.ts'
import { layoutOn } from '../judge/prediction.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import type { Layout } from '../memory/predict.ts'
import { type Range, intersect, sizeOf, totalSize } from '../memory/range.ts'
import {
  type BuiltScenario,
  buildScenario,
  isRefused,
} from '../scenario/build.ts'
import type { CellInput } from '../scenario/schema.ts'
import { ALL_SERIES } from '../tdx/series/index.ts'

/** Undefined for what is no valid scenario, or no machine a kernel boots on. */
export const bootableScenario = (
  input: CellInput,
  board: Board,
): BuiltScenario | undefined => {
  const built = buildScenario(input, board)
  if (isRefused(built)) return undefined
  const boots = ALL_SERIES.every(({ memoryRules }) =>
    canBoot(layoutOn(built.body, { rules: memoryRules })),
  )
  return boots ? built : undefined
}

/** Drivers need some of it below 4 GiB. */
const LOW: Range = { start: MIB, end: 4096 * MIB }

const canBoot = ({ invalidMap, fatal, memblock }: Layout): boolean => {
  const low = memblock.flatMap(piece => intersect(piece, LOW) ?? [])
  return (
    !invalidMap &&
    fatal?.of !== 'map' &&
    fatal?.of !== 'trampoline' &&
    totalSize(memblock) >= MINIMUM_MEMORY.kernel &&
    Math.max(0, ...low.map(sizeOf)) >= MINIMUM_MEMORY.inOnePiece
  )
}
