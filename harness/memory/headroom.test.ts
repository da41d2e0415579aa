import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { headroomOf } from './headroom.ts'
import { predictLayout } from './predict.ts'
import { MEMORY_RULES } from './rules.ts'

const LIMITS = {
  maxTdmrs: 64,
  maxReservedPerTdmr: 16,
  pamtEntrySizes: [16, 16, 16] as const,
}

t.test('how much is used of what there is', async t => {
  const e820 = [
    { start: 0, end: 0x9f000, type: 1 },
    { start: MIB, end: 2 * GIB, type: 1 },
    { start: 4 * GIB, end: 12 * GIB, type: 1 },
  ]
  const layout = (cmdline: string, map = e820) =>
    predictLayout({
      firmware: { e820: map, srat: undefined },
      cmdline,
      limits: LIMITS,
      rules: MEMORY_RULES['6.12'],
    })
  const plain = headroomOf(layout(''))
  t.same(plain.tdmrs, { used: 2, max: 64 })
  t.same(plain.reservedAreas, {
    tdmr: { start: 4 * GIB, end: 12 * GIB },
    atLeast: 2,
    atMost: 2,
    max: 16,
  })
  t.equal(plain.pamt.kib, 4104 * 10 + 8)
  t.ok(plain.pamt.share > 0.0039 && plain.pamt.share < 0.004)
  const holes = Array.from({ length: 14 }, (_, i) => `4K$${1040 + i * 16}M`)
  t.match(headroomOf(layout(`memmap=${holes.join(',')}`)), {
    reservedAreas: { tdmr: { start: 0, end: 2 * GIB }, atLeast: 15 },
  })
  const none = { ...layout(''), tdmrs: [], regions: [], pamtKib: 0 }
  t.same(headroomOf(none), {
    tdmrs: { used: 0, max: 64 },
    reservedAreas: undefined,
    pamt: { kib: 0, share: 0 },
  })
})
