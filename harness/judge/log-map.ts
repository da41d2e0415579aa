import { GIB, PHYSICAL_LIMIT } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { E820, type E820Entry, isUsable } from '../memory/e820.ts'
import {
  type Range,
  formatRange,
  intersect,
  subtract,
} from '../memory/range.ts'

/** The memory map of a log, whole or cut short. */

const endOf = (ranges: readonly Range[]): number =>
  Math.max(0, ...ranges.map(({ end }) => end))

/**
 * Reports are often shortened, and the memory above 4 GiB is what is cut: what
 * is convertible behind the end of the map is memory of the machine.
 */
const beyondMap = (facts: Facts): Range[] => {
  const { firmwareMap, extendedMap, tdx, whole } = facts
  if (whole.map) return []
  const end = Math.max(
    4 * GIB,
    endOf((extendedMap ?? firmwareMap).filter(isUsable)),
  )
  const map = extendedMap ?? firmwareMap
  return (tdx.cmrs ?? [])
    .flatMap(cmr => intersect(cmr, { start: end, end: PHYSICAL_LIMIT }) ?? [])
    .flatMap(({ start, end }) => subtract({ start, end }, map))
}

/** The firmware's map, with memory that only the CMRs tell of. */
export const mapOf = (facts: Facts): E820Entry[] => [
  ...(facts.extendedMap ?? facts.firmwareMap).map(({ start, end, type }) => ({
    start,
    end,
    type,
  })),
  ...beyondMap(facts).map(({ start, end }) => ({
    start,
    end,
    type: E820.RAM,
  })),
]

export const cutNote = (facts: Facts): string[] => {
  const beyond = beyondMap(facts)
  return beyond.length === 0
    ? []
    : [
        `the map seems to be cut short: memory at ${beyond.map(formatRange).join(' ')} was taken from the CMRs`,
      ]
}
