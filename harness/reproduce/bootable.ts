import { MIB } from '../base/units.ts'
import { layoutOn } from '../judge/prediction.ts'
import type { Layout } from '../memory/predict.ts'
import { type Range, intersect, sizeOf, totalSize } from '../memory/range.ts'
import { type CaseBody, caseBody } from '../scenario/case.ts'
import { type CellInput, cellSchema } from '../scenario/schema.ts'
import { ALL_SERIES } from '../tdx/series/index.ts'

/** A cell as it is written to a file, and what is booted of it. */
export interface BootableScenario {
  readonly input: CellInput
  readonly body: CaseBody
}

/** Undefined for what is no valid scenario, or no machine a kernel lives on. */
export const scenarioOf = (input: CellInput): BootableScenario | undefined => {
  const parsed = cellSchema.safeParse(input)
  if (!parsed.success) return undefined
  const built = caseBody(parsed.data)
  if ('problems' in built) return undefined
  const { body } = built
  const alive = ALL_SERIES.every(({ memoryRules }) =>
    canLive(layoutOn(body, memoryRules, undefined)),
  )
  return alive ? { input, body } : undefined
}

/** The smallest kernel needs this much in all, and in one piece. */
const NEEDED = 320 * MIB
const NEEDED_AT_ONCE = 96 * MIB

/** Drivers need some of it below 4 GiB. */
const LOW: Range = { start: MIB, end: 4096 * MIB }

const canLive = ({ invalidMap, fatal, memblock }: Layout): boolean => {
  const low = memblock.flatMap(piece => intersect(piece, LOW) ?? [])
  return (
    !invalidMap &&
    fatal?.of !== 'trampoline' &&
    totalSize(memblock) >= NEEDED &&
    Math.max(0, ...low.map(sizeOf)) >= NEEDED_AT_ONCE
  )
}

/** It can be written to a file and booted. */
export const isBootable = (input: CellInput): boolean =>
  scenarioOf(input) !== undefined
