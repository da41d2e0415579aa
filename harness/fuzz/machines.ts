import { GIB, KIB, MIB, PAGE_SIZE, alignDown, sizeText } from '../base/units.ts'
import { E820, e820TypeName } from '../memory/e820.ts'
import type { BoardModel } from '../board/board.ts'
import { type Range, subtract } from '../memory/range.ts'
import type { CellInput } from '../scenario/schema.ts'
import { addressIn, pieceIn } from './addresses.ts'
import type { Random } from './random.ts'

export type MachineInput = CellInput['machine']

/** MiB; around 2.75 GiB QEMU moves the split below 4 GiB. */
const SIZES = [
  512, 640, 1023, 1024, 1025, 1536, 2047, 2048, 2049, 2815, 2816, 2817, 3072,
  4095, 4096, 4097, 5120, 6144, 7167, 8192,
].map(mib => mib * MIB)

/** So large that TDMRs run out; a boot of it takes seconds. */
const LARGE = [66, 70, 80].map(gib => gib * GIB)
const sizeOf = (random: Random): number =>
  random.onceIn(40) ? random.pick(LARGE) : random.pick(SIZES)

const CPUS = [1, 1, 2, 2, 2, 3, 4]

/** What a random machine consists of. */
export interface RandomMachine {
  readonly machine: MachineInput
  /** All its RAM, in bytes. */
  readonly size: number
  /** Where there is RAM that may be used freely. */
  readonly ram: readonly Range[]
}

const describe = (
  size: number,
  model: BoardModel,
): { memory: string; ram: Range[] } => ({
  memory: sizeText(size),
  ram: model.ramRanges({ size, nodes: [], dimms: [] }),
})

/** One machine in nodes of QEMU's, or in none. */
export const nodesMachine = (
  random: Random,
  model: BoardModel,
): RandomMachine => {
  const size = sizeOf(random)
  const { memory, ram } = describe(size, model)
  const cpus = random.pick(CPUS)
  if (random.onceIn(5)) return { machine: { memory, cpus }, size, ram }
  const nodes = nodeSizes(random, size).map(bytes => ({
    memory: sizeText(bytes),
  }))
  return { machine: { nodes, cpus }, size, ram }
}

/** Node borders at odd places, which are offsets into RAM. */
const nodeSizes = (random: Random, size: number): number[] => {
  const cuts = random
    .times(random.int(0, 5), () =>
      alignDown(addressIn(random, [{ start: MIB, end: size }]), PAGE_SIZE),
    )
    .filter(cut => cut >= MIB && cut < size)
  // A node without memory, now and then.
  if (cuts.length > 0 && random.onceIn(8)) cuts.push(cuts[0]!)
  const borders = [0, ...cuts.sort((a, b) => a - b), size]
  return borders.slice(1).map((end, i) => end - borders[i]!)
}

/** Types of holes; undefined is a gap that no entry covers. */
const HOLE_TYPES = [
  E820.RESERVED,
  E820.RESERVED,
  E820.ACPI,
  E820.NVS,
  E820.UNUSABLE,
  E820.PMEM,
  E820.PRAM,
  E820.SOFT_RESERVED,
  20,
  E820.RESERVED_KERN,
  undefined,
  undefined,
]

const HOLE_COUNTS = [0, 1, 2, 3, 5, 8, 13, 15, 16, 17, 18, 40, 140]

/** A machine whose firmware has a map of its own. */
export const mappedMachine = (
  random: Random,
  model: BoardModel,
): RandomMachine => {
  const base = random.onceIn(3)
    ? sratMachine(random, model)
    : nodesMachine(random, model)
  const { size } = base
  // More packages move the firmware's tables down, never by this much.
  const tables = model.firmwareTables({
    memory: { size, nodes: [], dimms: [] },
    packages: 1,
  })
  const below = { start: tables.start - 64 * KIB, end: tables.end }
  const ram = base.ram.flatMap(range => subtract(range, [below]))
  const above = ram.flatMap(range => subtract(range, [{ start: 0, end: MIB }]))
  // Low memory has holes as well, beside the one of the BIOS.
  const places = [...above, { start: 64 * KIB, end: 0x9f000 }]
  const holes = random.times(random.pick(HOLE_COUNTS), () => ({
    ...pieceIn(random, random.onceIn(12) ? places.slice(-1) : above),
    type: random.pick(HOLE_TYPES),
  }))
  const gaps = holes.filter(({ type }) => type === undefined)
  const usable = above.flatMap(range => subtract(range, gaps))
  const extra = random.times(random.int(0, 2), () => pieceIn(random, above))
  const entries = [
    { start: 0, end: random.pick([0x9fc00, 0x9f000, 0xa0000]), type: E820.RAM },
    ...[...usable, ...extra].map(range => ({ ...range, type: E820.RAM })),
    ...holes.flatMap(({ type, ...range }) =>
      type === undefined ? [] : [{ ...range, type }],
    ),
    { start: 0xfec00000, end: 0xff000000, type: E820.RESERVED },
  ]
  const e820 = (random.onceIn(3) ? random.shuffle(entries) : entries).map(
    ({ start, end, type }) => ({
      start: sizeText(start),
      end: sizeText(end),
      // The kernel calls this one usable, and it is not quite that.
      type: type === E820.RESERVED_KERN ? type : e820TypeName(type),
    }),
  )
  const { firmware } = base.machine
  return {
    machine: { ...base.machine, firmware: { ...firmware, e820 } },
    size,
    ram,
  }
}

type SratEntry = NonNullable<
  NonNullable<MachineInput['firmware']>['srat']
>[number]

/** Domains: small, in no order, now and then beyond what a kernel takes. */
const domainOf = (random: Random): number =>
  random.onceIn(60) ? 256 : random.pick([0, 1, 2, 3, 3, 7, 40, 255])

/** A machine with a SRAT of any shape. */
export const sratMachine = (
  random: Random,
  model: BoardModel,
): RandomMachine => {
  const size = sizeOf(random)
  const { memory, ram } = describe(size, model)
  const cpus = random.pick(CPUS)
  const owners = random.times(cpus, cpu => ({
    domain: domainOf(random),
    cpus: String(cpu),
  }))
  const many = random.onceIn(12)
  const srat: SratEntry[] = [
    ...(random.onceIn(6) ? [] : owners),
    ...(many ? manyDomains(random, ram[0]!) : []),
    ...(many ? ram.slice(1) : ram).flatMap(range => sratPieces(random, range)),
  ]
  return {
    machine: {
      memory,
      cpus,
      packages: cpus,
      firmware: { srat: random.onceIn(3) ? random.shuffle(srat) : srat },
    },
    size,
    ram,
  }
}

/** As many domains, or pieces of one, as a kernel takes, give or take. */
const manyDomains = (random: Random, { start, end }: Range): SratEntry[] => {
  const one = random.onceIn(2)
  const count = one ? random.int(120, 135) : random.int(58, 68)
  const step = alignDown((end - start) / count, PAGE_SIZE)
  return random.times(count, i => ({
    domain: one ? i % 2 : i,
    start: sizeText(start + i * step),
    end: sizeText(i === count - 1 ? end : start + (i + 1) * step),
  }))
}

/** A range in domains; now and then with a gap, or with an overlap. */
const sratPieces = (random: Random, { start, end }: Range): SratEntry[] => {
  const cuts = random
    .times(random.int(0, 4), () => addressIn(random, [{ start, end }]))
    .sort((a, b) => a - b)
  const borders = [start, ...cuts, end]
  return borders.slice(1).flatMap((last, i): SratEntry[] => {
    const from = borders[i]! - (random.onceIn(40) ? PAGE_SIZE : 0)
    const to = last - (random.onceIn(40) ? random.pick([PAGE_SIZE, MIB]) : 0)
    if (from < 0 || from >= to) return []
    const whole = from % PAGE_SIZE === 0 && to % PAGE_SIZE === 0
    return [
      {
        domain: domainOf(random),
        start: sizeText(from),
        end: sizeText(to),
        ...(whole && random.onceIn(5) && { hotplug: true }),
      },
    ]
  })
}
