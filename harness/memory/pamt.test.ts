import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { placePamts } from './pamt.ts'
import { type NodeRange, contains, overlaps } from './range.ts'
import type { TdmrModel } from './tdmr.ts'

const tdmr = (gib: number, node = 0): TdmrModel => ({
  start: gib * GIB,
  end: (gib + 1) * GIB,
  pamtSizes: [4 * MIB, 8192, 4096],
  pamtNode: node,
  holes: [],
})

const region = (start: number, end: number, node = 0): NodeRange => ({
  start: start * MIB,
  end: end * MIB,
  node,
})

t.test('a PAMT may fall where there is memory, and nowhere else', t => {
  const tdmrs = [tdmr(0), tdmr(1), tdmr(2)]
  const place = (regions: readonly NodeRange[]) =>
    placePamts({ tdmrs, regions, source: 'moved', movable: [] }).map(
      ({ pamtAreas: { min, max } }) => [min, max],
    )
  const one = region(100, 200)
  t.same(place([one]), [
    [3, 3],
    [0, 0],
    [0, 0],
  ])
  const far = region(2100, 2200)
  const apart = [
    [0, 3],
    [0, 0],
    [0, 3],
  ]
  t.same(place([one, far]), apart, 'there is none between them')
  t.same(place([far, one]), apart, 'in the order of a log')
  t.same(
    place([]),
    [
      [0, 0],
      [0, 0],
      [0, 0],
    ],
    'none at all',
  )
  t.end()
})

t.test('bounds are those of every range by itself', t => {
  const ranges = fc.array(
    fc
      .tuple(
        fc.integer({ min: 0, max: 4000 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 0, max: 2 }),
      )
      .map(([start, size, node]) => region(start, start + size, node)),
    { minLength: 1, maxLength: 6 },
  )
  fc.assert(
    fc.property(ranges, regions => {
      const tdmrs = [tdmr(0, 0), tdmr(1, 1), tdmr(2, 1)]
      const places = placePamts({
        tdmrs,
        regions,
        source: 'moved',
        movable: [],
      })
      return tdmrs.every((one, i) => {
        const { min, max } = places[i]!.pamtAreas
        const all = regions.every(range => contains(one, range))
        const some = regions.some(range => overlaps(one, range))
        return min === (all ? 3 : 0) && max === (some ? 3 : 0)
      })
    }),
  )
  t.end()
})
