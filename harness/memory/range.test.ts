import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import {
  type Range,
  contains,
  formatRange,
  intersect,
  overlaps,
  subtract,
  totalSize,
  union,
} from './range.ts'

/** Small ranges, so that every address can be looked at one by one. */
const SPACE = 48
const range = fc
  .tuple(fc.nat(SPACE), fc.nat(SPACE))
  .map(([a, b]): Range => ({ start: Math.min(a, b), end: Math.max(a, b) }))
const ranges = fc.array(range, { maxLength: 8 })
const addresses = Array.from({ length: SPACE + 1 }, (_, i) => i)
const covers = (list: readonly Range[], address: number): boolean =>
  list.some(({ start, end }) => address >= start && address < end)
const sortedAndApart = (list: readonly Range[]): boolean =>
  list.every(
    (item, i) =>
      item.start < item.end && (i === 0 || list[i - 1]!.end < item.start),
  )

t.test('union covers the same addresses, sorted and apart', async t => {
  holds(
    t,
    'union covers the same addresses, sorted and apart',
    fc.property(ranges, list => {
      const merged = union(list)
      return (
        sortedAndApart(merged) &&
        addresses.every(a => covers(merged, a) === covers(list, a))
      )
    }),
  )
  t.same(
    union([
      { start: 4, end: 6 },
      { start: 1, end: 4 },
    ]),
    [{ start: 1, end: 6 }],
  )
})

t.test('subtract leaves what is in the range and in no hole', async t => {
  holds(
    t,
    'subtract leaves what is in the range and in no hole',
    fc.property(range, ranges, (whole, holes) => {
      const left = subtract(whole, holes)
      return (
        sortedAndApart(left) &&
        addresses.every(
          a => covers(left, a) === (covers([whole], a) && !covers(holes, a)),
        )
      )
    }),
  )
  t.same(subtract({ start: 0, end: 9 }, [{ start: 3, end: 4 }]), [
    { start: 0, end: 3 },
    { start: 4, end: 9 },
  ])
})

t.test('intersect, overlaps and contains agree address by address', async t => {
  holds(
    t,
    'intersect, overlaps and contains agree address by address',
    fc.property(range, range, (a, b) => {
      const common = intersect(a, b)
      const both = addresses.filter(x => covers([a], x) && covers([b], x))
      return (
        addresses.every(
          x => covers(common ? [common] : [], x) === both.includes(x),
        ) &&
        (a.start === a.end ||
          b.start === b.end ||
          overlaps(a, b) === both.length > 0) &&
        (b.start === b.end ||
          contains(a, b) ===
            addresses.every(x => !covers([b], x) || covers([a], x)))
      )
    }),
  )
  t.equal(
    totalSize([
      { start: 0, end: 2 },
      { start: 5, end: 6 },
    ]),
    3,
  )
  t.equal(
    formatRange({ start: 0x100000, end: 0x7ffe0000 }),
    '[0x100000, 0x7ffe0000)',
  )
})
