import t from 'tap'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { CellInput } from '../scenario/schema.ts'
import { bodyOf } from '../testing/records.ts'
import { predictCase } from '../judge/prediction.ts'
import {
  endingByModel,
  minimiseByBoots,
  minimiseOnModel,
  reducible,
} from './minimise.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'

const SUBJECT = { board: DEFAULT_BOARD, kernel: { series: MAINLINE_6_8 } }
const idle = new AbortController().signal

/** 18 usable ranges below 2 GiB, and memory above that is of no account. */
const HOLES: CellInput = {
  name: 'n',
  why: 'w',
  machine: {
    cpus: 4,
    firmware: {
      e820: [
        { start: 0, end: 0x9f000, type: 'usable' },
        { start: 0x100000, end: 0x40001000, type: 'usable' },
        ...Array.from({ length: 17 }, (_, i) => ({
          start: 0x40002000 + i * 0x10000,
          end: 0x40006000 + i * 0x10000,
          type: 'usable',
        })),
        { start: 0x100000000, end: 0x200000000, type: 'usable' },
      ],
    },
  },
  tdx: { keyids: { mktme: 63, tdx: 64 } },
  cmdline: { memmap: ['4K$0x150000000,4K$0x160000000'], append: ['nosmt'] },
  expect: { tdx: 'failed', stage: 'reserved-areas', errno: -28 },
}

const layoutOf = (input: CellInput) =>
  predictCase(bodyOf(input), SUBJECT.kernel).layout

t.test('on the model: no hole more than it takes', async t => {
  const input = reducible(HOLES)
  const target = endingByModel(input, SUBJECT)!
  t.match(target, { outcome: 'failed', stage: 'reserved-areas' })
  const small = await minimiseOnModel({
    input,
    target,
    subject: SUBJECT,
    signal: idle,
  })
  t.match(endingByModel(small, SUBJECT), {
    outcome: target.outcome,
    stage: target.stage,
  })
  const holes = layoutOf(small).tdmrs.map(({ holes }) => holes.length)
  t.same(holes, [17], 'one TDMR, with one hole too many')
  t.same(small.cmdline?.memmap ?? [], [])
  t.same(small.cmdline?.append ?? [], [])
  t.equal(small.tdx?.keyids, undefined)
  // Nothing of it can go.
  const map = small.machine.firmware?.e820 as { start: string }[]
  for (const entry of map.slice(1)) {
    const e820 = map.filter(other => other !== entry)
    const less = {
      ...small,
      machine: { ...small.machine, firmware: { e820 } },
    } as CellInput
    t.not(endingByModel(less, SUBJECT)?.byHoles, true, `without ${entry.start}`)
  }
})

t.test('by boots, as many as are allowed', async t => {
  let boots = 0
  const target = { outcome: 'failed', stage: 'tdmrs' } as const
  const input = reducible({
    ...HOLES,
    cmdline: { memmap: ['4K$1G', '4K$0x150000000'], append: ['a=1', 'b=2'] },
  })
  const small = await minimiseByBoots({
    input,
    target,
    board: DEFAULT_BOARD,
    bootAll: candidates => {
      boots += candidates.length
      return Promise.resolve(
        candidates.map(({ cmdline }) =>
          cmdline?.append?.includes('b=2') ? target : undefined,
        ),
      )
    },
    limits: { width: 2, budget: 60 },
  })
  t.ok(boots <= 60)
  t.same(small.cmdline?.append, ['b=2'])
})

t.test('an interrupt stops the model', async t => {
  const controller = new AbortController()
  controller.abort()
  const input = reducible(HOLES)
  const small = await minimiseOnModel({
    input,
    target: endingByModel(input, SUBJECT)!,
    subject: SUBJECT,
    signal: controller.signal,
  })
  t.same(small, input)
})

t.test('pasted maps and plain numbers can be made smaller', async t => {
  const input = reducible({
    ...HOLES,
    machine: {
      firmware: {
        e820: 'BIOS-e820: [mem 0x0-0x9efff] usable\nBIOS-e820: [mem 0x100000-0x3fffffff] usable\n',
        srat: [{ domain: 0, start: 0, end: 0x40000000 }],
      },
    },
  })
  t.same(input.machine.firmware, {
    e820: [
      { start: '0x0', end: '636K', type: 'usable' },
      { start: '1M', end: '1G', type: 'usable' },
    ],
    srat: [{ domain: 0, start: '0x0', end: '1G' }],
  })
})
