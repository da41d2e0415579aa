import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { GIB, MIB } from '../base/units.ts'
import { E820 } from './e820.ts'
import {
  nodeNumbers,
  q35FirmwareMap,
  q35Srat,
  ramRanges,
} from './firmware-map.ts'
import { assignNodes, memblockMemory } from './numa.ts'
import { predictLayout } from './predict.ts'
import { NO_NODE, totalSize, union } from './range.ts'
import { tdxMemoryRegions } from './regions.ts'
import { fillOutTdmrs, modelTdmrs, pamtKib, tdmrHoles } from './tdmr.ts'

const LIMITS = { maxTdmrs: 64, maxReservedPerTdmr: 16, pamtEntrySize: 16 }

t.test('PAMT sizes of real machines, from their TDMRs', async t => {
  // 64 GiB in 3 TDMRs, 256 GiB in 5 and 3, 252 GiB in 3: public kernel logs.
  const cases: [tdmrs: number[], kib: number][] = [
    [[2, 30, 32], 262668],
    [[2, 62, 64, 64, 64], 1050644],
    [[2, 126, 128], 1050636],
    [[2, 124, 126], 1034220],
  ]
  for (const [sizes, kib] of cases) {
    let at = 0
    const regions = sizes.map(size => {
      const start = at
      at += (size + 1) * GIB
      return { start, end: start + size * GIB, node: 0 }
    })
    t.equal(pamtKib(modelTdmrs(regions, LIMITS)), kib, `${sizes.join('+')} GiB`)
  }
})

t.test(
  'TDMRs: aligned, in order, all regions covered, holes are the rest',
  async t => {
    const page = 4096
    const region = fc.tuple(
      fc.integer({ min: 1, max: 600_000 }),
      fc.integer({ min: 1, max: 600_000 }),
    )
    holds(
      t,
      'TDMRs: aligned, in order, all regions covered, holes are the rest',
      fc.property(fc.array(region, { minLength: 1, maxLength: 12 }), steps => {
        let at = 256
        const regions = steps.map(([gap, length], node) => {
          const start = (at + gap) * page
          at += gap + length
          return { start, end: at * page, node }
        })
        const tdmrs = fillOutTdmrs(regions)
        const aligned = tdmrs.every(
          (tdmr, i) =>
            tdmr.start % GIB === 0 &&
            tdmr.end % GIB === 0 &&
            tdmr.start < tdmr.end &&
            (i === 0 || tdmrs[i - 1]!.end <= tdmr.start),
        )
        const holes = tdmrs.flatMap(tdmr => tdmrHoles(tdmr, regions))
        return (
          aligned &&
          totalSize(holes) === totalSize(tdmrs) - totalSize(regions) &&
          union([...holes, ...regions]).length === union(tdmrs).length
        )
      }),
    )
  },
)

t.test('regions: above 1 MiB, whole pages, node kept', async t => {
  t.same(
    tdxMemoryRegions([
      { start: 0x1000, end: 0x9f000, node: 0 },
      { start: 0x80000, end: 0x200800, node: 0 },
      { start: 0x300400, end: 0x300c00, node: 1 },
    ]),
    [{ start: MIB, end: 0x200000, node: 0 }],
  )
})

t.test('q35: RAM, SRAT and firmware map describe the same memory', async t => {
  const nodes = fc.array(fc.integer({ min: 256, max: 3000 }), {
    minLength: 2,
    maxLength: 5,
  })
  holds(
    t,
    'q35: RAM, SRAT and firmware map describe the same memory',
    fc.property(nodes, sizes => {
      const memory = {
        size: sizes.reduce((a, b) => a + b, 0) * MIB,
        nodes: sizes.map(s => s * MIB),
        dimms: [],
      }
      const ram = totalSize(ramRanges(memory))
      const srat = q35Srat(
        memory,
        memory.nodes.map(() => []),
      )
      const usable = q35FirmwareMap(memory, 1).filter(
        ({ type }) => type === E820.RAM,
      )
      return (
        ram === memory.size &&
        totalSize(srat) === memory.size - 384 * 1024 &&
        srat.every((entry, i) => i === 0 || srat[i - 1]!.end <= entry.start) &&
        totalSize(usable) < ram
      )
    }),
  )
})

t.test('the tail SeaBIOS reserves, as measured on QEMU 7.2', async t => {
  const tail = (size: number, packages: number): number => {
    const map = q35FirmwareMap({ size, nodes: [], dimms: [] }, packages)
    return map.find(({ start }) => start === MIB)!.end
  }
  t.equal(tail(512 * MIB, 1), 0x1ffe0000)
  t.equal(tail(4 * GIB, 3), 0x7ffe0000)
  t.equal(tail(2 * GIB, 4), 0x7ffe0000)
  t.equal(tail(4 * GIB, 4), 0x7ffdf000)
  t.equal(tail(100 * GIB, 1), 0x7ffdf000)
  t.equal(tail(2 * GIB, 64), 0x7ffde000)
})

t.test('memblock and nodes', async t => {
  const memory = memblockMemory([
    { start: 0x1200, end: 0x5000 },
    { start: 0x5000, end: 0x8f00 },
    { start: 0x9100, end: 0x9f00 },
  ])
  t.same(memory, [{ start: 0x2000, end: 0x8000 }], 'partial pages are dropped')
  const two = [
    { start: MIB, end: GIB },
    { start: 2 * GIB, end: 3 * GIB },
  ]
  const srat = [
    { start: 0, end: GIB, node: 0 },
    { start: GIB, end: 3 * GIB, node: 1 },
  ]
  t.same(assignNodes(two, srat, false).ranges, [
    { start: MIB, end: GIB, node: 0 },
    { start: 2 * GIB, end: 3 * GIB, node: 1 },
  ])
  t.match(assignNodes(two, srat, true), {
    fallback: 'NUMA turned off',
    ranges: [{ node: 0 }, { node: 0 }],
  })
  t.match(assignNodes(two, [], false).fallback, /No NUMA/)
  t.match(assignNodes(two, [srat[0]!], false).fallback, /without a node/)
  t.match(
    assignNodes(two, [...srat, { start: 0, end: GIB, node: 2 }], false)
      .fallback,
    /overlaps/,
  )
  const short = [{ start: 0, end: GIB - 4096, node: 0 }]
  t.same(assignNodes([two[0]!], short, false).ranges.at(-1), {
    start: GIB - 4096,
    end: GIB,
    node: NO_NODE,
  })
})

t.test(
  'a node without memory between joins its blocks over the hole',
  async t => {
    const memory = [{ start: 0, end: 4 * GIB }]
    const srat = [
      { start: 0, end: GIB, node: 0 },
      { start: 3 * GIB, end: 4 * GIB, node: 0 },
    ]
    t.same(assignNodes(memory, srat, false).ranges, [
      { start: 0, end: 4 * GIB, node: 0 },
    ])
  },
)

const firmware = (size: number, nodes: number[] = []) => ({
  e820: q35FirmwareMap({ size, nodes, dimms: [] }, 1),
  srat: q35Srat(
    { size, nodes, dimms: [] },
    nodes.map(() => []),
  ),
})

t.test('the outcome of the TDMRs is fits, exhausted or open', async t => {
  const holes = (count: number, first: number) =>
    Array.from({ length: count }, (_, i) => `4K$${first + 16 * i}M`).join(',')
  const outcome = (size: number, memmap: string) =>
    predictLayout(firmware(size, [size]), `memmap=${memmap}`, LIMITS)
      .tdmrOutcome
  t.match(outcome(6 * GIB, `2M$1023M,${holes(14, 1040)}`), { kind: 'fits' })
  t.match(outcome(6 * GIB, `2M$1023M,${holes(15, 1040)}`), {
    kind: 'exhausted',
    stage: 'reserved-areas',
    tdmr: { start: GIB, end: 2 * GIB },
  })
  t.match(
    outcome(2 * GIB, holes(14, 1040)),
    { kind: 'exhausted', tdmr: { start: 0, end: 2 * GIB } },
    'with all memory in one TDMR its PAMT takes an area as well',
  )
  t.match(
    outcome(3 * GIB, holes(15, 4100)),
    { kind: 'exhausted', tdmr: { start: 4 * GIB, end: 5 * GIB } },
    '15 holes and two PAMTs that must lie there',
  )
})

t.test('the kernel takes the memory of its own image back', async t => {
  const image = { start: 16 * MIB, end: 0x1a15400 }
  const input = { ...firmware(2 * GIB), kernelImage: image }
  const layout = predictLayout(input, 'memmap=64M$8M', LIMITS)
  t.same(
    layout.regions.map(({ start, end }) => [start, end]),
    [
      [MIB, 8 * MIB],
      [16 * MIB, 0x1a15000],
      [72 * MIB, 0x7ffe0000],
    ],
  )
  t.same(layout.unpredictable, [])
  const unknown = predictLayout(firmware(2 * GIB), 'memmap=64M$8M', LIMITS)
  t.match(unknown.unpredictable, [/where the kernel image may lie/])
})

t.test(
  'a user map of one entry is a panic; unknown parameters are named',
  async t => {
    const single = predictLayout(
      firmware(2 * GIB),
      'memmap=exactmap,2G@0',
      LIMITS,
    )
    t.equal(single.invalidMap, true)
    const fake = predictLayout(firmware(2 * GIB), 'numa=fake=2', LIMITS)
    t.same(fake.unpredictable, ['numa=fake=2'])
    t.equal(fake.userMap, undefined)
  },
)

t.test(
  'any holes: regions lie in usable memory, above 1 MiB, apart',
  async t => {
    const hole = fc.tuple(
      fc.integer({ min: 1, max: 4096 }),
      fc.integer({ min: 12_288, max: 1_500_000 }),
      fc.constantFrom('$', '!', '#'),
    )
    const base = firmware(5 * GIB, [2 * GIB, 3 * GIB])
    holds(
      t,
      'any holes: regions lie in usable memory, above 1 MiB, apart',
      fc.property(fc.array(hole, { minLength: 1, maxLength: 6 }), list => {
        const words = list.map(
          ([pages, start, kind]) => `memmap=${pages * 4}K${kind}${start * 4}K`,
        )
        const layout = predictLayout(base, words.join(' '), LIMITS)
        const taken = list.map(([pages, start]) => ({
          start: start * 4096,
          end: (start + pages) * 4096,
        }))
        return layout.regions.every(
          (region, i) =>
            region.start >= MIB &&
            region.start < region.end &&
            (i === 0 || layout.regions[i - 1]!.end <= region.start) &&
            taken.every(
              ({ start, end }) => end <= region.start || start >= region.end,
            ),
        )
      }),
    )
  },
)

t.test('nodes are numbered in the order of their first CPU', async t => {
  t.same(nodeNumbers([[0], [1]]), [0, 1])
  t.same(nodeNumbers([[1], [0]]), [1, 0])
  t.same(nodeNumbers([[], [0], [1]]), [2, 0, 1])
  t.same(nodeNumbers([[], [], []]), [0, 1, 2])
  t.same(nodeNumbers([]), [])
})
