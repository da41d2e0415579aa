import t from 'tap'
import { GIB, MIB, PAGE_SIZE } from '../base/units.ts'
import { memblockMemory } from './memblock.ts'
import { type NumaInput, assignNodes } from './numa.ts'
import type { NodeRange, Range } from './range.ts'
import { MEMORY_RULES } from './rules.ts'
import { type SratMemory, readSrat } from './srat.ts'

const OLD = MEMORY_RULES['6.1']
const NEW = MEMORY_RULES['6.12']

const entry = (
  domain: number,
  start: number,
  end: number,
  hotplug = false,
): SratMemory => ({ domain, start, end, hotplug })

const input = (
  memory: readonly Range[],
  srat: readonly SratMemory[],
  more: Partial<NumaInput> = {},
): NumaInput => ({
  memory,
  srat: readSrat({ cpus: [], memory: srat }),
  ignored: undefined,
  fake: undefined,
  endOfMap: memory.at(-1)!.end,
  ...more,
})

const nodes = (ranges: readonly NodeRange[]): [number, number, number][] =>
  ranges.map(({ start, end, node }) => [start / MIB, end / MIB, node])

t.test('memblock drops partial pages', async t => {
  t.same(
    memblockMemory([
      { start: 0x1200, end: 0x5000 },
      { start: 0x5000, end: 0x8f00 },
      { start: 0x9100, end: 0x9f00 },
    ]),
    [{ start: 0x2000, end: 0x8000 }],
  )
})

const TWO = [
  { start: MIB, end: GIB },
  { start: 2 * GIB, end: 3 * GIB },
]

t.test('nodes from the SRAT, or one for all', async t => {
  const srat = [entry(0, 0, GIB), entry(1, GIB, 3 * GIB)]
  t.same(nodes(assignNodes(input(TWO, srat), NEW).ranges), [
    [1, 1024, 0],
    [2048, 3072, 1],
  ])
  t.match(assignNodes(input(TWO, srat, { ignored: 'off' }), NEW), {
    fallback: 'NUMA turned off',
    ranges: [{ node: 0 }, { node: 0 }],
  })
  const fallback = (memory: SratMemory[], more = {}) =>
    assignNodes(input(TWO, memory, more), NEW).fallback
  t.match(fallback(srat, { ignored: 'noacpi' }), /No NUMA/)
  t.match(fallback(srat, { srat: undefined }), /No NUMA/)
  t.match(fallback([]), /no memory in the SRAT/)
  t.match(fallback([srat[0]!]), /without a node/)
  t.match(fallback([...srat, entry(2, 0, GIB)]), /overlaps/)
})

t.test('a megabyte without a node: 6.1 minds, 6.12 does not', async t => {
  const memory = [{ start: MIB, end: GIB }]
  const without = (bytes: number) => input(memory, [entry(0, 0, GIB - bytes)])
  t.same(assignNodes(without(MIB), NEW).ranges.at(-1), {
    start: GIB - MIB,
    end: GIB,
    node: -1,
  })
  t.match(assignNodes(without(MIB), OLD).fallback, /without a node/)
  t.same(assignNodes(without(MIB - PAGE_SIZE), OLD).ranges.at(-1), {
    start: GIB - MIB + PAGE_SIZE,
    end: GIB,
    node: 64,
  })
  t.match(assignNodes(without(MIB + PAGE_SIZE), NEW).fallback, /without a node/)
})

t.test('nodes that overlap below the first page of memory', async t => {
  const memory = [{ start: PAGE_SIZE, end: GIB }]
  const srat = [entry(0, 0, GIB / 2), entry(1, GIB / 2, GIB), entry(1, 0, 100)]
  t.equal(
    assignNodes(input(memory, srat), NEW).fallback,
    undefined,
    'an entry without memory is dropped',
  )
  const wide = [entry(0, 0, GIB), entry(1, GIB - PAGE_SIZE, 2 * GIB)]
  t.match(assignNodes(input(memory, wide), NEW).fallback, /overlaps/)
})

t.test(
  'a node without memory between joins its blocks over the hole',
  async t => {
    const memory = [{ start: 0, end: 4 * GIB }]
    const srat = [entry(0, 0, GIB), entry(0, 3 * GIB, 4 * GIB)]
    t.same(nodes(assignNodes(input(memory, srat), NEW).ranges), [[0, 4096, 0]])
  },
)

t.test('a node border inside a page takes the page from both', async t => {
  const memory = [{ start: MIB, end: GIB }]
  const border = 512 * MIB + 100
  const srat = [entry(0, 0, border), entry(1, border, GIB)]
  t.same(assignNodes(input(memory, srat), NEW).ranges, [
    { start: MIB, end: 512 * MIB, node: 0 },
    { start: 512 * MIB + PAGE_SIZE, end: GIB, node: 1 },
  ])
})

t.test('domains become nodes in the order they are met', async t => {
  const order = (cpus: number[], memory: number[]) =>
    readSrat({
      cpus: cpus.map((domain, cpu) => ({ cpu, domain })),
      memory: memory.map(domain => entry(domain, domain * GIB, GIB)),
    }).nodes
  t.same([...order([5, 2], [2, 9, 5])], [[5, 0], [2, 1], [9, 2]]) // prettier-ignore
  t.same([...order([], [3, 1])], [[3, 0], [1, 1]]) // prettier-ignore
})

t.test('a SRAT beyond the limits is not used', async t => {
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => entry(i, i * MIB, (i + 1) * MIB))
  const rejected = (memory: SratMemory[], cpus: number[] = []) =>
    readSrat({ cpus: cpus.map(domain => ({ cpu: 0, domain })), memory })
      .rejected
  t.equal(rejected(many(64)), undefined)
  t.match(rejected(many(65)), /too many proximity domains/)
  t.match(rejected([entry(256, 0, GIB)]), /too many proximity domains/)
  t.match(rejected([entry(0, 0, GIB)], [256]), /too many proximity domains/)
  const pieces = (count: number) => many(count).map(e => ({ ...e, domain: 0 }))
  t.equal(rejected(pieces(128)), undefined)
  t.match(rejected(pieces(129)), /too many memblk/)
})

t.test('hot-pluggable memory of a node is not kept apart', async t => {
  const memory = [{ start: MIB, end: 2 * GIB }]
  const srat = [entry(0, 0, GIB), entry(0, GIB, 2 * GIB, true)]
  t.same(nodes(assignNodes(input(memory, srat), NEW).ranges), [[1, 2048, 0]])
})

const HUGE = [{ start: MIB, end: 8 * GIB }]

t.test('numa=fake=, as booted on 6.1 and 6.12', async t => {
  const memory = [{ start: MIB, end: 2 * GIB }]
  const one = [entry(0, 0, 2 * GIB)]
  const fake = (text: string, srat = one, ranges = memory) =>
    nodes(assignNodes(input(ranges, srat, { fake: text }), NEW).ranges)
  t.equal(fake('4').length, 4)
  t.equal(fake('4U').length, 4)
  t.same(fake('512M').map(([, , node]) => node), [0, 1, 2], 'a megabyte short of four') // prettier-ignore
  t.equal(fake('0').length, 1, 'no nodes: not emulated')
  t.equal(fake('').length, 1)
  t.equal(fake('1000').length, 1, 'not enough memory for 64 nodes')
  t.equal(fake('100M').at(-1)?.[2], 20, 'whole 32 MiB')
  const both = [entry(0, 0, GIB), entry(1, GIB, 2 * GIB)]
  t.same(fake('4', both).length, 4)
  const alone = input(memory, [], { srat: undefined, fake: '2' })
  t.match(assignNodes(alone, NEW), {
    fallback: /No NUMA/,
    ranges: [{ node: 0 }, { node: 1 }],
  })
  const off = input(memory, one, { ignored: 'off', fake: '2' })
  t.equal(assignNodes(off, OLD).ranges.length, 2)
  t.equal(assignNodes(off, NEW).ranges.length, 1)
  const uncovered = input(memory, [entry(0, 0, GIB)], { fake: '2' })
  t.match(assignNodes(uncovered, NEW), {
    fallback: /without a node/,
    ranges: [{ node: 0, end: 2 * GIB }],
  })
  const cpus = [{ cpu: 0, domain: 9 }]
  const withCpus = { srat: readSrat({ cpus, memory: one }), fake: '2U' }
  const alone9 = assignNodes({ ...alone, ...withCpus }, OLD)
  t.same(
    alone9.ranges.map(({ node }) => node),
    [0, 1],
    'a node without memory is passed over',
  )
  t.equal(alone9.fatal, undefined)
  t.match(
    assignNodes({ ...alone, ...withCpus }, NEW).fatal?.why,
    /1 of 2 nodes have no fake node/,
  )
  const crowded = {
    ...input(HUGE, [], { fake: '64' }),
    srat: readSrat({ cpus, memory: [entry(0, 0, 8 * GIB)] }),
  }
  t.equal(assignNodes(crowded, NEW).ranges.length, 1, 'no number is left')
  t.equal(assignNodes(crowded, NEW).fatal, undefined)
  t.equal(assignNodes(crowded, OLD).ranges.length, 64)
})
