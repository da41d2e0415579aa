import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { GIB, MIB } from '../base/units.ts'
import { modelOf } from '../board/board.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import { type Firmware, type Layout, predictLayout } from './predict.ts'
import { MEMORY_RULES } from './rules.ts'
import { readSrat } from './srat.ts'

const LIMITS = {
  maxTdmrs: 64,
  maxReservedPerTdmr: 16,
  pamtEntrySizes: [16, 16, 16] as const,
}
const RULES = MEMORY_RULES['6.12']

const model = modelOf(DEFAULT_BOARD)

const layoutWith = (input: Firmware, cmdline: string): Layout =>
  predictLayout({
    firmware: input,
    cmdline,
    limits: LIMITS,
    rules: RULES,
  })

const firmware = (size: number, nodes: number[] = []) => ({
  e820: model.firmwareMap({
    memory: { size, nodes, dimms: [] },
    packages: 1,
  }),
  srat:
    nodes.length > 0
      ? readSrat(model.srat({ size, nodes, dimms: [] }, [])!)
      : undefined,
})

t.test('TDMRs fit, do not fit, or it is open', async t => {
  const holes = (count: number, first: number) =>
    Array.from({ length: count }, (_, i) => `4K$${first + 16 * i}M`).join(',')
  const failures = (size: number, memmap: string) =>
    layoutWith(firmware(size, [size]), `memmap=${memmap}`).tdmrFailures
  t.same(failures(6 * GIB, `2M$1023M,${holes(14, 1040)}`), [])
  t.match(failures(6 * GIB, `2M$1023M,${holes(15, 1040)}`), [
    {
      kind: 'exhausted',
      stage: 'reserved-areas',
      tdmr: { start: GIB, end: 2 * GIB },
    },
  ])
  t.match(
    failures(2 * GIB, holes(14, 1040)),
    [{ kind: 'exhausted', tdmr: { start: 0, end: 2 * GIB } }],
    'with all memory in one TDMR its PAMT takes an area as well',
  )
  t.match(
    failures(3 * GIB, holes(15, 4100)),
    [{ kind: 'exhausted', tdmr: { start: 4 * GIB, end: 5 * GIB } }],
    '15 holes and two PAMTs that must lie there',
  )
  const pieces = `memmap=exactmap,640K@0,64M@16M,${holes(17, 1040).replaceAll('4K$', '8M@')}`
  t.match(
    layoutWith(firmware(2 * GIB), pieces).tdmrFailures,
    [
      { kind: 'open', stage: 'pamt' },
      { kind: 'exhausted', stage: 'reserved-areas' },
    ],
    'what may fail comes before what must',
  )
})

t.test('the kernel takes the memory of its own image back', async t => {
  const image = { start: 16 * MIB, end: 0x1a15400 }
  const input = { ...firmware(2 * GIB), kernelImage: image }
  const layout = layoutWith(input, 'memmap=64M$8M')
  t.same(
    layout.regions.map(({ start, end }) => [start, end]),
    [
      [MIB, 8 * MIB],
      [16 * MIB, 0x1a15000],
      [72 * MIB, 0x7ffe0000],
    ],
  )
  t.same(layout.unpredictable, [])
  const unknown = layoutWith(firmware(2 * GIB), 'memmap=64M$8M')
  t.match(unknown.unpredictable, [/where the kernel image may lie/])
})

t.test(
  'a user map of one entry is a panic; unknown parameters are named',
  async t => {
    const single = layoutWith(firmware(2 * GIB), 'memmap=exactmap,2G@0')
    t.equal(single.invalidMap, true)
    const off = layoutWith(firmware(2 * GIB), 'acpi=off')
    t.same(off.unpredictable, ['acpi'])
    t.equal(off.userMap, undefined)
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
        const layout = layoutWith(base, words.join(' '))
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

t.test('a map of one entry, and too little low memory', async t => {
  const predict = (
    e820: Firmware['e820'],
    rules: (typeof MEMORY_RULES)['7.1' | '6.12'],
    realMode?: number,
  ): Layout =>
    predictLayout({
      firmware: { e820, srat: undefined },
      cmdline: '',
      limits: LIMITS,
      rules,
      realMode,
    })
  const one = [{ start: 0, end: GIB, type: 1 }]
  t.match(predict(one, MEMORY_RULES['6.12']).fatal, {
    of: 'map',
    why: /2 entries/,
  })
  const taken = predict(one, MEMORY_RULES['7.1'])
  t.equal(taken.fatal, undefined)
  t.same(taken.regions, [{ start: MIB, end: GIB, node: 0 }])
  const low = [
    { start: 0x1000, end: 0x16000, type: 1 },
    { start: MIB, end: GIB, type: 1 },
  ]
  t.equal(predict(low, RULES).fatal, undefined)
  t.match(predict(low, RULES, 0x6264).fatal, {
    of: 'trampoline',
    why: /no 28 KiB/,
  })
})
