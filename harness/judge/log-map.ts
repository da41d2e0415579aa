import { GIB, MIB, PHYSICAL_LIMIT, formatSize } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { E820, type E820Entry, isUsable, usable } from '../memory/e820.ts'
import {
  type Range,
  formatRange,
  intersect,
  subtract,
  totalSize,
} from '../memory/range.ts'

/** The memory map of a log, whole or cut short. */

/** A map of a machine has more entries than this, or is not one. */
const SMALLEST_MAP = 2

/**
 * The map that a kernel began with, as far as the log shows it: the firmware's,
 * or the one after the command line, where that alone was posted.
 */
export interface StartMap {
  readonly of: 'firmware' | 'user'
  readonly entries: readonly E820Entry[]
}

/** A few entries without RAM are what a filter has left, and no map. */
const isMap = (entries: readonly E820Entry[]): boolean =>
  entries.length >= SMALLEST_MAP && entries.some(isUsable)

export const startMap = (facts: Facts): StartMap | undefined => {
  const firmware = facts.extendedMap ?? facts.firmwareMap
  if (isMap(firmware)) return { of: 'firmware', entries: firmware }
  const { userMap } = facts
  return userMap && isMap(userMap)
    ? { of: 'user', entries: userMap }
    : undefined
}

/** Memory can be predicted: a map is there, or ranges of nodes. */
export const showsMemory = (facts: Facts): boolean =>
  startMap(facts) !== undefined || facts.nodeRanges.length > 0

const endOf = (ranges: readonly Range[]): number =>
  Math.max(0, ...ranges.map(({ end }) => end))

/**
 * Reports are often shortened, and the memory above 4 GiB is what is cut: what
 * is convertible behind the end of the map is memory of the machine.
 */
const beyondMap = (facts: Facts): Range[] => {
  const { tdx, whole } = facts
  const start = startMap(facts)
  if (whole.map || start?.of !== 'firmware') return []
  const map = start.entries
  const end = Math.max(4 * GIB, endOf(map.filter(isUsable)))
  return (tdx.cmrs ?? [])
    .flatMap(cmr => intersect(cmr, { start: end, end: PHYSICAL_LIMIT }) ?? [])
    .flatMap(range => subtract(range, map))
}

/** The firmware's map, with memory that only the CMRs tell of. */
export const mapOf = (facts: Facts): E820Entry[] => [
  ...(startMap(facts)?.entries ?? []).map(({ start, end, type }) => ({
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

/** Types of memory that a kernel does not use, and why not. */
const NOT_USED: readonly (readonly [type: number, why: string])[] = [
  [
    E820.SOFT_RESERVED,
    'is soft reserved (EFI_MEMORY_SP): it waits for the dax and kmem drivers, and is no memory of TDX',
  ],
  [E820.PMEM, 'is persistent memory, and no memory of TDX'],
  [E820.PRAM, 'is persistent memory (legacy), and no memory of TDX'],
  [E820.UNUSABLE, 'is marked unusable by the firmware'],
]

/** Memory of the machine that the kernel does not have, and why. */
export const missingNotes = (facts: Facts): string[] => {
  const map = facts.extendedMap ?? facts.firmwareMap
  const all = map.length > 0 ? map : (facts.userMap ?? [])
  const reserved = NOT_USED.flatMap(([type, why]) => {
    const ranges = all.filter(entry => entry.type === type)
    return ranges.length === 0
      ? []
      : [`${listed(ranges)} (${formatSize(totalSize(ranges))}) ${why}`]
  })
  return [
    ...trimmedNotes(facts),
    ...reserved,
    ...windowNotes(facts),
    ...memorylessNotes(facts),
    ...mirrorNotes(facts),
  ]
}

const SHOWN = 4

const listed = (ranges: readonly Range[]): string =>
  ranges.length > SHOWN
    ? `${ranges.slice(0, SHOWN).map(formatRange).join(' ')} and ${ranges.length - SHOWN} more`
    : ranges.map(formatRange).join(' ')

const trimmedNotes = (facts: Facts): string[] => {
  const { modifiedMap, mtrrLostMib } = facts
  if (!modifiedMap) {
    return mtrrLostMib
      ? [`the firmware's MTRRs cost ${mtrrLostMib.mib} MiB of memory`]
      : []
  }
  const before = usable(facts.userMap ?? mapOf(facts))
  const lost = before.flatMap(range => subtract(range, usable(modifiedMap)))
  // The first page is always taken.
  const large = lost.filter(({ start }) => start >= MIB)
  if (mtrrLostMib)
    return [
      `the firmware's MTRRs do not cover ${large.length > 0 ? listed(large) : 'all memory'} as write-back, and the kernel gives up ${mtrrLostMib.mib} MiB: update the BIOS, or try 'disable_mtrr_trim' (arch/x86/kernel/cpu/mtrr/cleanup.c)`,
    ]
  return large.length === 0
    ? []
    : [
        `the kernel has changed its map later ('modified:'), and ${listed(large)} is not memory any more: no MTRR covers it, or ACPI tables of the initrd are there`,
      ]
}

/** Ranges in which memory may be plugged, and is not now. */
const windowNotes = (facts: Facts): string[] => {
  const ram = startMap(facts)
    ? usable(facts.modifiedMap ?? facts.userMap ?? mapOf(facts))
    : facts.nodeRanges
  if (ram.length === 0) return []
  const empty = facts.srat
    .filter(({ hotplug }) => hotplug)
    .flatMap(({ start, end }) => subtract({ start, end }, ram))
    .filter(range => range.end - range.start >= GIB)
  return empty.length === 0
    ? []
    : [
        `${listed(empty)} is a window for hot-plug in the SRAT: there is no memory in it now`,
      ]
}

const memorylessNotes = ({ memoryless }: Facts): string[] => {
  const nodes = [...new Set(memoryless.map(({ node }) => node))]
  return nodes.length === 0
    ? []
    : [
        `node${nodes.length === 1 ? '' : 's'} ${nodes.join(', ')} ${nodes.length === 1 ? 'has' : 'have'} no memory that the kernel uses`,
      ]
}

/** efi_find_mirror() (drivers/firmware/efi/efi.c). */
const mirrorNotes = ({ remarks }: Facts): string[] =>
  remarks.flatMap(({ kind, text }) => {
    const [, mirrored] = /(\d+)M\/\d+M mirrored/.exec(text) ?? []
    return kind !== 'mirrored' || mirrored === undefined
      ? []
      : [
          `${mirrored} MiB are mirrored memory, which is memory of TDX like other RAM; with kernelcore=mirror a region ends at each border between mirrored and other memory`,
        ]
  })
