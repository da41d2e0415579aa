import { MIB, sizeText } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import {
  E820,
  type E820Entry,
  e820TypeName,
  isUsable,
  usable,
} from '../memory/e820.ts'
import { type Board, modelOf } from '../board/board.ts'
import {
  type NodeRange,
  type Range,
  formatRange,
  intersect,
  overlaps,
  subtract,
} from '../memory/range.ts'
import { CPU_MODELS, CPU_MODEL_NAMES } from '../scenario/cpu-models.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Scale } from './scale.ts'

type Machine = CellInput['machine']

/** What a machine here has of another, and what is not as it was there. */
export interface ReplayedMachine {
  readonly machine: Machine
  readonly approximations: readonly string[]
}

/** The memory map of a log, and what it becomes here. */
export interface ReplayedMap {
  readonly map: readonly E820Entry[]
  readonly scale: Scale
  readonly board: Board
}

/** The machine of a log, with its map, its nodes and its CPU. */
export const replayMachine = (
  facts: Facts,
  { map, scale, board }: ReplayedMap,
): ReplayedMachine => {
  const approximations: string[] = []
  const e820 = mapFor(
    map.map(entry => placed(entry, scale)),
    board,
    approximations,
  )
  const srat = sratFor(facts, scale, approximations)
  const cpus = srat?.filter(entry => 'cpus' in entry).length
  const cpuModel = modelFor(facts, approximations)
  return {
    machine: {
      ...(cpus === undefined ? {} : { cpus }),
      ...(cpuModel && { cpuModel }),
      firmware: {
        e820: e820.map(({ start, end, type }) => ({
          start: sizeText(start),
          end: sizeText(end),
          type: e820TypeName(type),
        })),
        ...(srat && { srat }),
      },
    },
    approximations,
  }
}

export const placed = <R extends Range>(range: R, { place }: Scale): R => ({
  ...range,
  start: place(range.start),
  end: place(range.end),
})

/** More packages move the tables of the guest's BIOS down: the most there are. */
const MOST_PACKAGES = 8

/** The map, without usable memory where the machine has none. */
const mapFor = (
  map: readonly E820Entry[],
  board: Board,
  approximations: string[],
): E820Entry[] => {
  const model = modelOf(board)
  const memory = { size: model.memoryFor(map), nodes: [], dimms: [] }
  const ram = model.ramRanges(memory)
  const backed = usable(map)
    .flatMap(range => subtract(range, ram))
    .reduce(
      (entries, range) =>
        without(
          entries,
          { range, why: 'this machine has no RAM there' },
          approximations,
        ),
      [...map],
    )
  return without(
    backed,
    {
      range: model.firmwareTables({ memory, packages: MOST_PACKAGES }),
      why: "the ACPI tables of the guest's BIOS are there",
    },
    approximations,
  )
}

/** What was usable in the range becomes reserved. */
const without = (
  map: readonly E820Entry[],
  { range, why }: { readonly range: Range; readonly why: string },
  approximations: string[],
): E820Entry[] => {
  const usable = map.filter(entry => isUsable(entry) && overlaps(entry, range))
  if (usable.length === 0) return [...map]
  approximations.push(
    ...usable.map(
      entry =>
        `${formatRange(intersect(entry, range)!)} is reserved here and usable there: ${why}`,
    ),
  )
  return map.flatMap((entry): E820Entry[] =>
    usable.includes(entry)
      ? [
          ...subtract(entry, [range]).map(part => ({
            start: part.start,
            end: part.end,
            type: entry.type,
          })),
          { ...intersect(entry, range)!, type: E820.RESERVED },
        ]
      : [entry],
  )
}

type Srat = NonNullable<NonNullable<Machine['firmware']>['srat']>

/** The kernel's node of each domain, and the domain's memory. */
const sratFor = (
  facts: Facts,
  scale: Scale,
  approximations: string[],
): Srat | undefined => {
  const { srat, nodeRanges } = facts
  const blocks =
    srat.length > 0
      ? srat
      : fromRanges(nodeRanges, facts.cmdline ?? '', approximations)
  if (blocks.length === 0) return undefined
  return [
    ...cpuEntries(facts, blocks, approximations),
    ...blocks.map(({ domain, hotplug, ...range }) => {
      const { start, end } = placed(range, scale)
      return {
        domain,
        start: sizeText(start),
        end: sizeText(end),
        ...(hotplug && { hotplug }),
      }
    }),
  ]
}

interface Block extends NodeRange {
  readonly domain: number
  readonly hotplug: boolean
}

/** A node has what lies from its first range to the next node's first. */
const fromRanges = (
  ranges: readonly NodeRange[],
  cmdline: string,
  approximations: string[],
): Block[] => {
  const nodes = new Set(ranges.map(({ node }) => node))
  // Emulated nodes are made by the command line, and not by a table.
  if (nodes.size < 2 || nodes.has(-1) || cmdline.includes('numa=fake'))
    return []
  approximations.push(
    "the log has no SRAT: its nodes were taken from 'Early memory node ranges'",
  )
  const blocks: Block[] = []
  for (const { start, end, node } of ranges) {
    const last = blocks.at(-1)
    if (last?.node === node) blocks[blocks.length - 1] = { ...last, end }
    else blocks.push({ start, end, node, domain: node, hotplug: false })
  }
  return blocks
}

/** One CPU for each node that has CPUs, in the order of the kernel's nodes. */
const cpuEntries = (
  { sratCpus, cpus }: Facts,
  blocks: readonly Block[],
  approximations: string[],
): Srat => {
  const domains = new Map(
    [...sratCpus, ...blocks].map(({ node, domain }) => [node, domain]),
  )
  const withCpus = sratCpus.length > 0 ? sratCpus : blocks
  const nodes = [...new Set(withCpus.map(({ node }) => node))].sort(
    (a, b) => a - b,
  )
  if (sratCpus.length === 0)
    approximations.push(
      'the log does not say which nodes have CPUs: each has one here',
    )
  const found = cpus?.count ?? sratCpus.length
  if (found > nodes.length)
    approximations.push(
      `there ${nodes.length === 1 ? 'is 1 CPU' : `are ${nodes.length} CPUs`} here, one on each node, and ${found} there`,
    )
  return nodes.map((node, cpu) => ({
    domain: domains.get(node)!,
    cpus: String(cpu),
  }))
}

const modelFor = (
  { cpu }: Facts,
  approximations: string[],
): Machine['cpuModel'] => {
  if (!cpu) return undefined
  const found = CPU_MODEL_NAMES.find(name => {
    const { family, model } = CPU_MODELS[name]
    return family === cpu.family && model === cpu.model
  })
  if (!found)
    approximations.push(
      `the CPU is a ${CPU_MODEL_NAMES[0]} here, and family ${cpu.family}, model ${cpu.model} there`,
    )
  return found
}

/** A map for a log that shows none: what is known to be memory. */
export const mapOfRanges = (ranges: readonly Range[]): E820Entry[] =>
  ranges.map(({ start, end }) => ({ start, end, type: E820.RAM }))

/** CMRs and the SRAT do not tell of what the BIOS has below 1 MiB. */
export const withoutLow = (ranges: readonly Range[]): Range[] => [
  { start: 0, end: 0x9f000 },
  ...ranges.flatMap(range => subtract(range, [{ start: 0, end: MIB }])),
]
