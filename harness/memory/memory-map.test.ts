import fc from 'fast-check'
import t from 'tap'
import { typeAt } from '../fuzz/pointwise.ts'
import { holds } from '../testing/property.ts'
import { GIB, MIB, PAGE_SIZE } from '../base/units.ts'
import { E820, type E820Entry, MAX_ENTRIES, isUsable } from './e820.ts'
import type { MapOperation } from './memmap.ts'
import { memoryMap } from './memory-map.ts'
import type { Range } from './range.ts'
import { MEMORY_RULES } from './rules.ts'

const OLD = MEMORY_RULES['6.1']
const NEW = MEMORY_RULES['6.12']
const IMAGE = { start: 16 * MIB, end: 40 * MIB }

/** Addresses above the kernel, in units that make them meet. */
const UNIT = 1024
const BASE = 64 * MIB
const SPACE = 48
const bounds = fc
  .tuple(fc.nat(SPACE), fc.integer({ min: 1, max: SPACE }))
  .map(([at, size]): Range => ({
    start: BASE + at * UNIT,
    end: BASE + (at + size) * UNIT,
  }))
const type = fc.constantFrom<number>(
  E820.RAM,
  E820.RAM,
  E820.RESERVED,
  E820.ACPI,
  E820.PRAM,
  20,
)
const entry = fc
  .tuple(bounds, type)
  .map(([range, kind]): E820Entry => ({ ...range, type: kind }))
const operation: fc.Arbitrary<MapOperation> = fc.oneof(
  fc.constant<MapOperation>({ kind: 'exact' }),
  fc.tuple(bounds, type).map(([range, kind]): MapOperation => ({
    kind: 'add',
    range,
    type: kind,
  })),
  fc
    .tuple(bounds, type, type)
    .filter(([, from, to]) => from !== to)
    .map(([range, from, to]): MapOperation => ({
      kind: 'retype',
      range,
      from,
      to,
    })),
  fc
    .tuple(bounds, fc.option(type, { nil: undefined }))
    .map(([range, only]): MapOperation => ({
      kind: 'remove',
      range,
      ...(only !== undefined && { type: only }),
    })),
  fc.nat(2 * SPACE).map((at): MapOperation => ({
    kind: 'limit',
    size: BASE + at * UNIT,
  })),
)

/** Two entries that are always there: a kernel needs memory to run in. */
const COMMON: E820Entry[] = [
  { start: MIB, end: BASE, type: E820.RAM },
  { start: 0xfec00000, end: 0xfec01000, type: E820.RESERVED },
]

const table = fc.array(entry, { maxLength: 6 })
const operations = fc.array(operation, { maxLength: 4 })

t.test('any table, any parameters: each address is what it is', async t => {
  holds(
    t,
    'any table, any parameters: each address is what it is',
    fc.property(table, operations, (entries, list) => {
      const e820 = [...COMMON, ...entries]
      const { user, firmware, invalid } = memoryMap(
        { e820, kernelImage: IMAGE },
        list,
        NEW,
      )
      if (invalid) return true
      const map = user ?? firmware
      for (let at = BASE; at < BASE + 2 * SPACE * UNIT; at += UNIT / 2) {
        const found = map.filter(({ start, end }) => start <= at && at < end)
        if (found.length > 1) return false
        if ((found[0]?.type ?? 0) !== typeAt(at, e820, list)) return false
      }
      return true
    }),
  )
})

t.test('entries in any order make the same map', async t => {
  holds(
    t,
    'entries in any order make the same map',
    fc.property(
      table,
      fc.array(fc.nat(), { minLength: 8 }),
      (entries, keys) => {
        const e820 = [...COMMON, ...entries]
        const shuffled = e820
          .map((one, i) => ({ one, key: keys[i]! }))
          .sort((a, b) => a.key - b.key)
          .map(({ one }) => one)
        const text = (list: readonly E820Entry[]): string =>
          JSON.stringify(memoryMap({ e820: list }, [], NEW).firmware)
        // Persistent memory is not merged, and keeps a border inside others.
        return (
          e820.some(({ type }) => type === E820.PRAM) ||
          text(e820) === text(shuffled)
        )
      },
    ),
  )
})

const LOW = { start: 0, end: 0x9fc00, type: E820.RAM }
const ram = (map: readonly E820Entry[], more = {}): string =>
  memoryMap({ e820: map, kernelImage: IMAGE, ...more }, [], NEW)
    .ram.map(({ start, end }) => `${start.toString(16)}-${end.toString(16)}`)
    .sort()
    .join(' ')

t.test('page 0 and the legacy hole are never memory', async t => {
  t.equal(
    ram([
      { start: 0, end: GIB, type: E820.RAM },
      { start: GIB, end: 2 * GIB, type: E820.RESERVED },
    ]),
    '1000-a0000 100000-40000000',
  )
})

t.test('what is beyond 128 entries comes as setup data', async t => {
  const small = Array.from({ length: 140 }, (_, i) => ({
    start: 0xe0000000 + i * 0x2000,
    end: 0xe0001000 + i * 0x2000,
    type: i % 2 ? E820.RESERVED : E820.NVS,
  }))
  const e820 = [
    LOW,
    { start: MIB, end: GIB, type: E820.RAM },
    ...small,
    { start: 4 * GIB, end: 5 * GIB, type: E820.RAM },
  ]
  const setupData = { start: 0x8000, end: 0x8154 }
  const map = memoryMap({ e820, setupData }, [], NEW)
  t.equal(map.firmware.length, 128)
  t.equal(map.extended?.length, 143)
  t.ok(map.ram.some(({ start }) => start === 4 * GIB))
  const user = memoryMap(
    { e820, setupData },
    [{ kind: 'limit', size: 5 * GIB }],
    NEW,
  ).user!
  t.same(
    user.filter(isUsable).slice(0, 3),
    [
      { start: 0, end: 0x8000, type: E820.RAM },
      { start: 0x8000, end: 0x8154, type: E820.RESERVED_KERN },
      { start: 0x8154, end: 0x9fc00, type: E820.RAM },
    ],
    'its own page is set apart',
  )
  const many = Array.from({ length: 500 }, (_, i) => ({
    start: 0x80000000 + i * 0x2000,
    end: 0x80001000 + i * 0x2000,
    type: E820.RESERVED,
  }))
  t.equal(
    memoryMap({ e820: [...COMMON, ...many] }, [], NEW).extended?.length,
    MAX_ENTRIES,
    'no kernel keeps more',
  )
})

t.test('the end of the map: 6.12 counts ACPI tables', async t => {
  const e820 = [
    { start: MIB, end: GIB + 100, type: E820.RAM },
    { start: GIB + PAGE_SIZE, end: GIB + 4 * PAGE_SIZE, type: E820.ACPI },
    { start: 4 * GIB, end: 5 * GIB, type: E820.RESERVED },
  ]
  const end = (rules: typeof OLD | typeof NEW) =>
    memoryMap({ e820 }, [], rules).end
  t.equal(end(OLD), GIB)
  t.equal(end(NEW), GIB + 4 * PAGE_SIZE)
})
