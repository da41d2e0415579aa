import t from 'tap'
import { bodyOf } from '../testing/records.ts'
import type { Series } from '../tdx/series/index.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { V6 } from '../tdx/series/v6.ts'
import { predictCase } from './prediction.ts'

const MACHINE = { nodes: [{ memory: '2500M' }, { memory: '1596M' }] }

/** What comes of each step: `online d: refused (-1)`. */
const predict = (
  steps: unknown[],
  series: Series,
  tdx: object = {},
): string[] =>
  predictCase(bodyOf({ machine: MACHINE, steps, tdx }), {
    series,
  }).memory.map(
    ({ kind, name, result, errno }) =>
      `${kind} ${name}: ${result}${errno === 0 ? '' : ` (${errno})`}`,
  )

const plug = { plug: { name: 'd', memory: '1G' } }
const online = { online: 'd' }
const offline = { offline: 'd' }
const unplug = { unplug: 'd' }

t.test('a DIMM goes online, offline, and away', async t => {
  const steps = [plug, online, offline, online, unplug]
  t.same(predict([...steps, 'trigger'], V6), [
    'plug d: done',
    'online d: done',
    'offline memory d: done',
    'online d: done',
    'unplug d: done',
  ])
  t.same(predict(['trigger', ...steps], MAINLINE_7_1), [
    'plug d: done',
    'online d: refused (-1)',
    'offline memory d: done',
    'online d: refused (-1)',
    'unplug d: done',
  ])
})

t.test('what the initialisation may have taken from', async t => {
  t.same(
    predict([plug, online, 'trigger', offline], V6).at(-1),
    'offline memory d: open',
  )
  t.same(
    predict([plug, 'trigger', online, offline], V6).at(-1),
    'offline memory d: done',
    'it was offline then',
  )
})

t.test('a DIMM that is not made of whole blocks', async t => {
  const odd = { plug: { name: 'd', memory: '1088M' } }
  const steps = [odd, 'trigger', online]
  for (const series of [V6, MAINLINE_6_8, MAINLINE_7_1])
    t.same(predict(steps, series), [
      'plug d: refused (-22)',
      'online d: refused (-2)',
    ])
  t.equal(
    predictCase(bodyOf({ steps }), { series: MAINLINE_6_8 }).outcome?.outcome,
    'initialized',
    'it is not in the list',
  )
})

t.test('a DIMM that was unplugged is in no list', async t => {
  const steps = [plug, unplug, 'trigger']
  const { outcome, layout } = predictCase(bodyOf({ machine: MACHINE, steps }), {
    series: MAINLINE_6_8,
  })
  t.equal(outcome?.outcome, 'initialized')
  t.equal(layout.regions.at(-1)?.end, 0x180000000)
})

t.test('boot memory', async t => {
  const range = (name: string, start: string, end: string) => ({
    offline: { name, start, end },
  })
  const steps = [
    range('hole', '0', '128M'),
    range('border', '4480M', '4608M'),
    range('free', '5G', '5376M'),
    { online: 'free' },
    { online: 'hole' },
  ]
  for (const series of [V6, MAINLINE_6_8, MAINLINE_7_1])
    t.same(predict(['trigger', ...steps], series), [
      'offline memory hole: refused (-22)',
      'offline memory border: refused (-22)',
      'offline memory free: open',
      'online free: done',
      'online hole: done',
    ])
})

t.test('hot-added memory that lies in a CMR', async t => {
  const tdx = {
    cmrs: [
      { start: '1M', end: '2G' },
      { start: '4G', end: '7G' },
    ],
  }
  t.same(
    predict([plug, 'trigger', online], MAINLINE_6_8, tdx).at(-1),
    'online d: done',
  )
  t.same(
    predict(['trigger', plug, online], MAINLINE_6_8, tdx).at(-1),
    'online d: refused (-1)',
  )
})

t.test('virtio-mem makes a region of its own', async t => {
  const steps = [
    { plug: { name: 'd', memory: '512M', node: 1, as: 'virtio-mem' } },
    'trigger',
    online,
  ]
  const tdx = {
    cmrs: [
      { start: '1M', end: '2G' },
      { start: '4G', end: '7G' },
    ],
  }
  const { layout } = predictCase(bodyOf({ machine: MACHINE, steps, tdx }), {
    series: MAINLINE_6_8,
  })
  t.same(layout.regions.at(-1), {
    start: 0x180000000,
    end: 0x1a0000000,
    node: 1,
  })
  t.same(predict(steps, MAINLINE_6_8, tdx).at(-1), 'online d: done')
  t.same(predict(steps, MAINLINE_7_1, tdx).at(-1), 'online d: refused (-1)')
})

t.test('memory of a DAX device', async t => {
  const kmem = (from: string) => ({
    kmem: { name: 'd', start: '5G', end: '6G', from },
  })
  const cell = (steps: unknown[]) => ({
    machine: { nodes: [{ memory: '4G' }] },
    cmdline: { memmap: ['1G!5G'] },
    steps,
  })
  const ends = (steps: unknown[], series: Series) => {
    const { outcome, layout, memory } = predictCase(bodyOf(cell(steps)), {
      series,
    })
    return [
      outcome?.outcome,
      layout.regions.at(-1)!.start,
      layout.regions.at(-1)!.end,
      memory.at(-1)!.errno,
    ]
  }
  const later = ['trigger', kmem('persistent'), online]
  const early = [kmem('persistent'), 'trigger', online]
  const soft = ['trigger', kmem('soft-reserved'), online]
  const boot = [0x100000000, 0x140000000]
  for (const series of [MAINLINE_6_8, MAINLINE_7_1])
    t.same(ends(later, series), ['initialized', ...boot, -1])
  t.same(ends(later, V6), ['initialized', ...boot, 0])
  t.same(
    ends(early, MAINLINE_6_8),
    ['initialized', 0x148000000, 0x180000000, 0],
    'the first block has the information block; a region of its own',
  )
  t.same(ends(early, MAINLINE_7_1), ['initialized', ...boot, -1])
  t.same(
    ends(soft, MAINLINE_6_8),
    ['initialized', 0x140000000, 0x180000000, 0],
    'it is added as drivers start',
  )
  t.same(ends(soft, MAINLINE_7_1), ['initialized', ...boot, -1])
  t.same(
    predictCase(
      bodyOf({
        ...cell([kmem('soft-reserved'), 'trigger', online]),
        machine: { memory: '4G' },
      }),
      { series: MAINLINE_6_8 },
    ).memory.map(({ result, errno }) => [result, errno]),
    [
      ['refused', -22],
      ['refused', -2],
    ],
    'memory behind the node that is faked',
  )
})
