import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB, PAGE_SIZE } from '../base/units.ts'
import { E820 } from '../memory/e820.ts'
import { predictLayout } from '../memory/predict.ts'
import { type Range, sizeOf } from '../memory/range.ts'
import { MEMORY_RULES } from '../memory/rules.ts'
import { MODULE_LIMITS } from '../tdx/metadata-values.ts'
import { holds } from '../testing/property.ts'
import { scaleTo } from './scale.ts'

t.test('a machine that fits stays as it is', async t => {
  const scale = scaleTo([5 * GIB], 64 * GIB, 64 * GIB)!
  t.equal(scale.removed, 0)
  for (const address of [0, MIB, 4 * GIB, 5 * GIB, 63 * GIB + 1, 64 * GIB])
    t.equal(scale.place(address), address)
})

t.test('only long stretches above 4 GiB are shortened', async t => {
  const borders = [3 * GIB, 66 * GIB + MIB, 66 * GIB + 2 * MIB]
  const scale = scaleTo(borders, 200 * GIB, 20 * GIB)!
  t.equal(scale.place(3 * GIB), 3 * GIB)
  const [a, b] = borders.slice(1).map(scale.place)
  t.equal(b! - a!, MIB)
  t.equal(a! % GIB, MIB)
  t.ok(scale.place(200 * GIB) - 4 * GIB <= 20 * GIB)
  t.equal(scaleTo(borders, 200 * GIB, 3 * GIB), undefined)
})

const piece = fc.record({
  gap: fc.integer({ min: 1, max: 600 }),
  size: fc.integer({ min: 1, max: 40_000 }),
  jitter: fc.nat(255),
})

/** Ranges above 4 GiB of any size, MiB by MiB and page by page. */
const machine = fc.array(piece, { minLength: 1, maxLength: 8 }).map(pieces => {
  let at = 4 * GIB
  return pieces.map(({ gap, size, jitter }): Range => {
    const start = at + gap * MIB + jitter * PAGE_SIZE
    at = start + size * MIB
    return { start, end: at }
  })
})

const LOW: Range[] = [
  { start: 0, end: 0x9f000 },
  { start: MIB, end: GIB + 5 * MIB },
]

const layoutOf = (ranges: readonly Range[]) =>
  predictLayout({
    firmware: {
      e820: [...LOW, ...ranges].map(range => ({ ...range, type: E820.RAM })),
      srat: undefined,
    },
    cmdline: '',
    limits: MODULE_LIMITS,
    rules: MEMORY_RULES['6.12'],
  })

t.test('TDMRs and holes are as many, and of the same shape', async t => {
  holds(
    t,
    'any machine, any room',
    fc.property(machine, fc.integer({ min: 30, max: 200 }), (ranges, room) => {
      const end = ranges.at(-1)!.end
      const borders = ranges.flatMap(range => [range.start, range.end])
      const scale = scaleTo(borders, end, room * GIB)
      if (!scale) return true
      const small = ranges.map(range => ({
        start: scale.place(range.start),
        end: scale.place(range.end),
      }))
      const shape = (layout: ReturnType<typeof layoutOf>): string =>
        JSON.stringify(
          layout.tdmrs.map(tdmr => [
            tdmr.start % GIB,
            tdmr.holes.map(hole => [
              hole.start % GIB,
              hole.end % GIB,
              Math.min(sizeOf(hole), GIB),
            ]),
          ]),
        )
      return (
        small.at(-1)!.end - 4 * GIB <= room * GIB &&
        end - small.at(-1)!.end === scale.removed &&
        shape(layoutOf(small)) === shape(layoutOf(ranges))
      )
    }),
    2000,
  )
})
