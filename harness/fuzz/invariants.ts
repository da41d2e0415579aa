import { GIB, MIB, PAGE_SIZE, hex } from '../base/units.ts'
import { memoryParameters } from '../memory/cmdline.ts'
import { E820, MAX_ENTRIES } from '../memory/e820.ts'
import type { MapOperation } from '../memory/memmap.ts'
import type { Layout } from '../memory/predict.ts'
import {
  type Range,
  contains,
  formatNodeRange,
  formatRange,
  intersect,
  overlaps,
  union,
} from '../memory/range.ts'
import type { MemoryRules } from '../memory/rules.ts'
import type { CaseBody } from '../scenario/case.ts'
import { machineFirmware } from '../scenario/machine-spec.ts'
import { affinityOf, nodeAt, typeAt } from './pointwise.ts'

/** What must hold for a layout, whatever it was made from. */

/** @returns what does not hold, each in a sentence */
export const violations = (
  body: Pick<CaseBody, 'machine' | 'words'>,
  layout: Layout,
  kernel: Kernel,
): string[] => [
  ...regionViolations(layout),
  ...tdmrViolations(layout),
  ...memoryViolations(body, layout, kernel),
]

/** What of a kernel decides which memory it takes. */
interface Kernel {
  readonly image: Range
  readonly rules: MemoryRules
}

const above = (ranges: readonly Range[]): Range[] =>
  ranges.flatMap(range => intersect(range, { start: MIB, end: Infinity }) ?? [])

const regionViolations = ({ regions, memblock }: Layout): string[] => {
  const wrong: string[] = []
  regions.forEach((region, i) => {
    const text = formatNodeRange(region)
    const before = regions[i - 1]
    if (region.start >= region.end) wrong.push(`region ${text} is empty`)
    if (region.start < MIB) wrong.push(`region ${text} begins below 1 MiB`)
    if (region.start % PAGE_SIZE !== 0 || region.end % PAGE_SIZE !== 0)
      wrong.push(`region ${text} is not whole pages`)
    if (before && before.end > region.start)
      wrong.push(`region ${text} begins before the end of the one before`)
    if (before?.end === region.start && before.node === region.node)
      wrong.push(`region ${text} belongs to the one before`)
    if (!memblock.some(m => m.node === region.node && contains(m, region)))
      wrong.push(`region ${text} is not in memory of its node`)
  })
  const covered = union(regions).map(formatRange).join()
  const memory = union(above(memblock)).map(formatRange).join()
  if (covered !== memory)
    wrong.push(`the regions cover ${covered}, memory above 1 MiB is ${memory}`)
  return wrong
}

const tdmrViolations = ({ tdmrs, regions }: Layout): string[] => {
  const wrong: string[] = []
  tdmrs.forEach((tdmr, i) => {
    const text = formatRange(tdmr)
    if (tdmr.start % GIB !== 0 || tdmr.end % GIB !== 0)
      wrong.push(`TDMR ${text} is not whole GiB`)
    if ((tdmrs[i - 1]?.end ?? 0) > tdmr.start)
      wrong.push(`TDMR ${text} overlaps the one before`)
    const parts = regions.flatMap(region => intersect(region, tdmr) ?? [])
    const whole = union([...parts, ...tdmr.holes])
    if (
      whole.length !== 1 ||
      whole[0]!.start !== tdmr.start ||
      whole[0]!.end !== tdmr.end ||
      parts.some(part => tdmr.holes.some(hole => overlaps(hole, part)))
    )
      wrong.push(`TDMR ${text} is not its regions and its holes`)
  })
  for (const region of regions)
    if (!tdmrs.some(tdmr => overlaps(tdmr, region)))
      wrong.push(`region ${formatNodeRange(region)} is in no TDMR`)
  return wrong
}

/** Where the kernel has rules of its own: page 0, the BIOS, its own image. */
const ownRules = (kernelImage: Range): Range[] => [
  { start: 0, end: PAGE_SIZE },
  { start: 0xa0000, end: 0x100000 },
  {
    start: Math.floor(kernelImage.start / PAGE_SIZE) * PAGE_SIZE,
    end: Math.ceil(kernelImage.end / PAGE_SIZE) * PAGE_SIZE,
  },
]

const bordersOf = (operation: MapOperation): number[] => {
  if ('range' in operation) return [operation.range.start, operation.range.end]
  return operation.kind === 'limit' ? [operation.size] : []
}

/**
 * Pages at every border are memory where, and only where, all of it is RAM,
 * and on the node of the one entry that covers them.
 */
const memoryViolations = (
  { machine, words }: Pick<CaseBody, 'machine' | 'words'>,
  { memblock, numaFallback, fatal, firmwareMap, extendedMap }: Layout,
  { image, rules }: Kernel,
): string[] => {
  const { e820 } = machineFirmware(machine)
  const { operations, fake } = memoryParameters(words.join(' '))
  const affinity = affinityOf(machine)
  const nodeBorders = affinity.flatMap(({ start, end }) => [start, end])
  // A page that a border between nodes runs through belongs to nobody; fake
  // nodes put more such borders where there is one.
  const cuts = nodeBorders.filter(border => border % PAGE_SIZE !== 0)
  if (cuts.length > 0 && fake !== undefined) return []
  // A table that is full drops entries, which one address does not see.
  const entries = (extendedMap ?? firmwareMap).length + 2 * operations.length
  if (entries >= MAX_ENTRIES) return []
  const borders = [
    ...e820.flatMap(({ start, end }) => [start, end]),
    ...operations.flatMap(bordersOf),
  ]
  const pages = new Set(
    [...borders, ...nodeBorders].flatMap(border => {
      const page = Math.floor(border / PAGE_SIZE) * PAGE_SIZE
      return [page - PAGE_SIZE, page, page + PAGE_SIZE]
    }),
  )
  const special = ownRules(image)
  const types = ramTypes(rules)
  return [...pages].flatMap(page => {
    const range = { start: page, end: page + PAGE_SIZE }
    if (page < 0 || special.some(own => overlaps(own, range))) return []
    const inside = borders.filter(b => range.start < b && b < range.end)
    const ram = [page, ...inside].every(address =>
      types.has(typeAt(address, e820, operations)),
    )
    const used = memblock.find(part => overlaps(part, range))
    const cut = cuts.some(border => page < border && border < range.end)
    if (ram !== (used !== undefined) && !(ram && cut))
      return [
        `the page at ${hex(page)} ${ram ? 'is RAM, and not in memory' : 'is not RAM, and in memory'}`,
      ]
    // A kernel that panics on its nodes has memory on none.
    if (!used || cut || fake !== undefined || fatal !== undefined) return []
    const node = numaFallback === undefined ? nodeAt(page, affinity) : 0
    return node === undefined || node === used.node
      ? []
      : [`the page at ${hex(page)} is on node ${used.node}, expected ${node}`]
  })
}

/** What memblock takes: RAM, and RAM with setup data in it. */
const ramTypes = ({ hasReservedKern }: MemoryRules): ReadonlySet<number> =>
  new Set([E820.RAM, ...(hasReservedKern ? [E820.RESERVED_KERN] : [])])
