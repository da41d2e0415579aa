import t from 'tap'
import { bodyOf } from '../testing/records.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { MAINLINE_7_1 } from '../tdx/series/mainline-7.1.ts'
import { V6 } from '../tdx/series/v6.ts'
import type { Series } from '../tdx/series/index.ts'
import { handsOver } from './predict-next.ts'
import { type Prediction, optionsOf, predictCase } from './prediction.ts'

const nextOf = (cell: object, series: Series = MAINLINE_7_1): Prediction => {
  const { next } = predictCase(
    bodyOf({ steps: ['trigger', { kexec: {} }], ...cell }),
    optionsOf(series),
  )
  if (!next) throw new Error('no next kernel was predicted')
  return next
}

/** `failed at sys-init`. */
const endOf = ({ outcome, open }: Prediction): string =>
  outcome ? `${outcome.outcome} at ${outcome.stage ?? 'none'}` : (open ?? '')

t.test('what the next kernel finds of the module', async t => {
  const cases: [what: string, cell: object, end: string, series?: Series][] = [
    ['the module stays ready', {}, 'failed at sys-init'],
    ['it was disabled', { tdx: { sysDisable: true } }, 'initialized at done'],
    [
      'kernels before 7.1 do not disable it',
      { tdx: { sysDisable: true } },
      'failed at sys-init',
      MAINLINE_6_8,
    ],
    [
      'nobody has initialised it',
      { steps: [{ kexec: {} }] },
      'initialized at done',
      MAINLINE_6_8,
    ],
    [
      'nor does anybody on the next one',
      { steps: [{ kexec: { steps: [] } }] },
      'unfinished at detect',
      V6,
    ],
    [
      'SYS.INIT has failed, and the module may be asked again',
      { tdx: { x2apic: false } },
      'failed at sys-init',
    ],
    [
      'it has failed later, so that nothing disables it',
      {
        machine: { memory: '4G' },
        tdx: {
          sysDisable: true,
          cmrs: [{ start: '1M', end: '1G' }],
        },
      },
      'failed at sys-init',
    ],
    [
      'there are no KeyIDs',
      { tdx: { keyids: { mktme: 31, tdx: 0 } } },
      'not-enabled at detect',
    ],
  ]
  for (const [what, cell, end, series] of cases)
    t.equal(endOf(nextOf(cell, series)), end, what)
})

t.test('memory of the next kernel', async t => {
  const hole = '64M$0x140000000'
  const cell = (first: string[], next: string[]): object => ({
    machine: { memory: '4G' },
    cmdline: { memmap: first },
    steps: ['trigger', { kexec: { memmap: next } }],
  })
  const whole = nextOf(cell([], [])).layout.regions
  t.equal(whole.length, 2)
  t.same(
    nextOf(cell([hole], [])).layout.regions,
    whole,
    'memmap= is not handed over',
  )
  t.equal(nextOf(cell([], [hole])).layout.regions.length, 3)
  t.same(nextOf(cell([], ['64M$@largest+1G'])).layout.regions.length, 3)
})

t.test('a map of more entries than struct boot_params has', async t => {
  const MIB = 1 << 20
  const e820 = Array.from({ length: 130 }, (_, i) => ({
    start: i * 2 * MIB,
    end: (i * 2 + 1) * MIB,
    type: 'reserved',
  }))
  e820[0] = { start: 0x1000, end: 0x9f000, type: 'usable' }
  e820[1] = { start: MIB, end: 2 * MIB, type: 'reserved' }
  e820[100] = { start: 600 * MIB, end: 1536 * MIB, type: 'usable' }
  e820[129] = { start: 1600 * MIB, end: 1700 * MIB, type: 'usable' }
  e820.splice(101, 28)
  for (let i = 0; i < 40; i++)
    e820.splice(101, 0, {
      start: (1590 - i) * MIB,
      end: (1590 - i) * MIB + 4096,
      type: i % 2 ? 'reserved' : 'unusable',
    })
  const body = bodyOf({
    machine: { memory: '2G', firmware: { e820 } },
    steps: ['trigger', { kexec: {} }],
  })
  const { layout, next } = predictCase(body, optionsOf(MAINLINE_7_1))
  const top = 1700 * MIB
  t.equal(layout.regions.at(-1)?.end, top)
  t.not(next?.layout.regions.at(-1)?.end, top)
  t.equal(next?.layout.extendedMap, undefined)
})

t.test('kho= is a boolean of the kernel', async t => {
  for (const [words, expected] of [
    [[], false],
    [['kho=on'], true],
    [['kho=1'], true],
    [['kho=y'], true],
    [['kho=off'], false],
    [['kho=on', 'kho=0'], false],
    [['kho'], false],
    [['kho_scratch=64M,64M,64M'], false],
  ] as const)
    t.equal(handsOver(words), expected, words.join(' '))
  t.equal(nextOf({ cmdline: { append: ['kho=on'] } }).handover, true)
})
