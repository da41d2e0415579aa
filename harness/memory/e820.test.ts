import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import {
  E820,
  type E820Entry,
  e820TypeByName,
  e820TypeName,
  joinUsable,
  rangeRemove,
  rangeUpdate,
  sanitize,
} from './e820.ts'
import type { Range } from './range.ts'

const SPACE = 40
const bounds = fc
  .tuple(fc.nat(SPACE), fc.nat(SPACE))
  .map(([a, b]): Range => ({ start: Math.min(a, b), end: Math.max(a, b) }))
const type = fc.constantFrom<number>(
  E820.RAM,
  E820.RESERVED,
  E820.ACPI,
  E820.NVS,
  E820.PRAM,
  77,
)
const entry = fc
  .tuple(bounds, type)
  .map(([range, kind]): E820Entry => ({ ...range, type: kind }))
const table = fc.array(entry, { maxLength: 7 })
const addresses = Array.from({ length: SPACE }, (_, i) => i)

/** The type an address has after sanitising: the largest of all entries. */
const typeAt = (entries: readonly E820Entry[], address: number): number =>
  entries
    .filter(({ start, end }) => start <= address && address < end)
    .reduce((largest, { type }) => Math.max(largest, type), 0)

t.test('sanitize: sorted, disjoint, the larger type wins', async t => {
  holds(
    t,
    'sanitize: sorted, disjoint, the larger type wins',
    fc.property(table, entries => {
      const clean = sanitize(entries)
      if (!clean) return entries.length < 2
      return (
        clean.every(
          (e, i) =>
            e.start < e.end && (i === 0 || clean[i - 1]!.end <= e.start),
        ) &&
        clean.every((e, i) => {
          const before = clean[i - 1]
          return (
            before?.end !== e.start ||
            before.type !== e.type ||
            e.type === E820.PRAM
          )
        }) &&
        addresses.every(a => typeAt(clean, a) === typeAt(entries, a))
      )
    }),
  )
  t.equal(sanitize([]), undefined)
  t.equal(
    sanitize([{ start: 0, end: 9, type: 1 }]),
    undefined,
    'one entry: the kernel gives up',
  )
})

t.test('neighbours of a type that is not merged stay apart', async t => {
  const entries = [
    { start: 0, end: 4, type: E820.PRAM },
    { start: 4, end: 8, type: E820.PRAM },
  ]
  t.same(sanitize(entries), entries)
})

t.test('rangeRemove takes exactly the range, of the type, out', async t => {
  holds(
    t,
    'rangeRemove takes exactly the range, of the type, out',
    fc.property(
      table,
      bounds,
      fc.option(type, { nil: undefined }),
      (entries, range, only) => {
        const left = rangeRemove(entries, range, only)
        return addresses.every(a => {
          const inRange = range.start <= a && a < range.end
          const kept = entries.filter(
            e => !inRange || (only !== undefined && e.type !== only),
          )
          return typeAt(left, a) === typeAt(kept, a)
        })
      },
    ),
  )
})

t.test(
  'rangeUpdate gives the range, where it had the old type, the new one',
  async t => {
    holds(
      t,
      'rangeUpdate gives the range, where it had the old type, the new one',
      fc.property(entry, bounds, type, type, (one, range, from, to) => {
        if (from === to) return true
        const changed = rangeUpdate([one], range, from, to)
        return addresses.every(a => {
          const inRange = range.start <= a && a < range.end
          const before = typeAt([one], a)
          return (
            typeAt(changed, a) === (inRange && before === from ? to : before)
          )
        })
      }),
    )
  },
)

t.test('type names are those the kernel prints, both ways', async t => {
  for (const number of Object.values(E820))
    if (number !== E820.RESERVED_KERN)
      t.equal(e820TypeByName(e820TypeName(number)), number)
  t.equal(e820TypeName(E820.RESERVED_KERN), 'usable')
  t.equal(e820TypeName(20), 'type 20')
  t.equal(e820TypeByName('type 20'), 20)
  t.equal(e820TypeByName('ussable'), undefined)
})

t.test('usable entries that touch are one, whoever split them', t => {
  const { RAM, RESERVED, RESERVED_KERN } = E820
  const entry = (start: number, end: number, type: number): E820Entry => ({
    start,
    end,
    type,
  })
  t.same(
    joinUsable([
      entry(0, 1, RAM),
      entry(1, 2, RESERVED_KERN),
      entry(2, 3, RAM),
      entry(3, 4, RESERVED),
      entry(4, 5, RESERVED),
      entry(6, 7, RAM),
      entry(8, 9, RAM),
    ]),
    [
      entry(0, 3, RAM),
      entry(3, 4, RESERVED),
      entry(4, 5, RESERVED),
      entry(6, 7, RAM),
      entry(8, 9, RAM),
    ],
  )
  t.same(joinUsable([]), [])
  t.end()
})
