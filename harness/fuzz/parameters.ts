import { GIB, KIB, MIB, PAGE_SIZE, sizeText } from '../base/units.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import { type Range, sizeOf } from '../memory/range.ts'
import { pieceIn } from './addresses.ts'
import type { Random } from './random.ts'

/** Parameters of a random boot, as they stand in a scenario. */
export interface RandomParameters {
  readonly memmap: string[]
  readonly mem?: string
  readonly append: string[]
}

const OPERATORS = ['$', '$', '#', '!', '@', '%'] as const

const RETYPES = [
  '',
  '-1',
  '+2',
  '-1+2',
  '-1+12',
  '-1+0xefffffff',
  '-1+128',
  '-2+3',
]

/** A piece that is taken away, added or given another type. */
const piece = (random: Random, ram: readonly Range[]): string => {
  const range = pieceIn(random, ram)
  const operator = random.pick(OPERATORS)
  const types = operator === '%' ? random.pick(RETYPES) : ''
  return `${sizeText(sizeOf(range))}${operator}${addressText(range.start)}${types}`
}

/** An address 0 is `0`, which sizeText() has no word for. */
const addressText = (address: number): string =>
  address === 0 ? '0' : sizeText(address)

/** As many holes in one GiB as a TDMR has reserved areas, give or take. */
const manyHoles = (random: Random, ram: readonly Range[]): string[] => {
  const high = ram.at(-1)!
  const base = Math.max(high.start, high.end - random.pick([1, 2]) * GIB)
  const room = high.end - base
  const count = random.int(13, 18)
  const step = Math.floor(room / (count + 1) / PAGE_SIZE) * PAGE_SIZE
  if (step < 2 * PAGE_SIZE) return []
  const holes = random.times(
    count,
    i => `${sizeText(PAGE_SIZE)}$${addressText(base + (i + 1) * step)}`,
  )
  return [holes.slice(0, 9).join(','), holes.slice(9).join(',')]
}

/** A hole in every GiB: as many TDMRs as there are GiB. */
const everyGib = (ram: readonly Range[]): string[] => {
  const { start, end } = ram.at(-1)!
  const first = Math.floor(start / GIB) + 1
  const holes = Array.from(
    { length: Math.floor(end / GIB) - first },
    (_, i) => `4K$${first + i}G`,
  )
  return [holes.join(',')].filter(Boolean)
}

/** `exactmap`, and a map that says again what there is, with a gap. */
const exactMap = (random: Random, ram: readonly Range[]): string[] => [
  [
    'exactmap',
    '640K@0',
    ...ram.map(({ start, end }) => {
      const from = Math.max(start, MIB)
      const to = end - random.pick([256 * KIB, 2 * MIB, 64 * MIB + KIB])
      return `${sizeText(to - from)}@${sizeText(from)}`
    }),
  ].join(','),
]

const FAKES = ['2', '3', '4', '8', '2U', '3U', '256M', '512M', '1G', '64', '63']

/** Words that have nothing to do with the regions, and others that have. */
const WORDS: readonly ((random: Random) => string)[] = [
  random => `numa=fake=${random.pick(FAKES)}`,
  () => 'numa=off',
  () => 'numa=noacpi',
  () => 'crashkernel=64M',
  () => 'hugepages=8',
  () => 'movable_node',
  random => `kernelcore=${random.pick(['256M', '50%'])}`,
  () => 'movablecore=128M',
  () => 'memhp_default_state=online',
  () => 'memory_hotplug.memmap_on_memory=1',
  () => 'efi_fake_mem=1G@4G:0x10000',
  () => 'memblock=debug',
]

/** Where machines begin that may run out of TDMRs. */
const LARGE = 64 * GIB

/** What may be left of memory by `mem=` and a bare `memmap=`. */
const limit = (random: Random, ram: readonly Range[]): string => {
  const { end } = ram.at(-1)!
  const cut = random.pick([PAGE_SIZE, MIB, 100 * MIB, 1 << 10])
  return sizeText(Math.max(MINIMUM_MEMORY.machine, end - cut))
}

export const randomParameters = (
  random: Random,
  ram: readonly Range[],
): RandomParameters => {
  const above = ram.map(({ start, end }) => ({
    start: Math.max(start, 64 * KIB),
    end,
  }))
  const memmap = random.times(random.pick([0, 0, 1, 1, 2, 4]), () =>
    random
      .times(random.pick([1, 1, 1, 3]), () => piece(random, above))
      .join(','),
  )
  if (random.onceIn(8)) memmap.push(...manyHoles(random, above))
  if (ram.at(-1)!.end > LARGE && random.onceIn(2)) memmap.push(...everyGib(ram))
  if (random.onceIn(12)) memmap.unshift(...exactMap(random, above))
  if (random.onceIn(16)) memmap.push(limit(random, ram))
  return {
    memmap,
    ...(random.onceIn(16) && { mem: limit(random, ram) }),
    append: random.times(random.pick([0, 0, 0, 1, 2]), () =>
      random.pick(WORDS)(random),
    ),
  }
}
