import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { parseMemmap } from './memmap.ts'
import { resolvePlaces } from './places.ts'

const MEMORY = [
  { start: 0x1000, end: 0x9f000, node: 0 },
  { start: MIB, end: 2 * GIB, node: 0 },
  { start: 4 * GIB, end: 5 * GIB, node: 0 },
  { start: 5 * GIB, end: 9 * GIB, node: 1 },
]

const resolved = (value: string): string => {
  const result = resolvePlaces(value, MEMORY)
  return 'value' in result ? result.value : `error: ${result.error}`
}

t.test('places become addresses', t => {
  t.equal(resolved('64M$@node1+1G'), '64M$0x180000000')
  t.equal(resolved('64M$@node0'), '64M$0x100000')
  t.equal(resolved('64M$@below4g-end-64M'), '64M$0x7c000000')
  t.equal(resolved('64M#@largest'), '64M#0x140000000')
  t.equal(resolved('64M!@largest-end-1G+512M'), '64M!0x220000000')
  t.equal(resolved('1M$@node0-end-0x100000'), '1M$0x7ff00000')
  t.equal(resolved('1G$@LARGEST,2M@@node0'), '1G$0x140000000,2M@0x100000')
  t.end()
})

t.test('what has no place stays as it is', t => {
  for (const value of ['64M$0x140000000', 'exactmap', '1G@4G', '', '$', '4G'])
    t.equal(resolved(value), value)
  t.end()
})

t.test('places that are nowhere', t => {
  t.match(resolved('64M$@node7'), /error: '\$@node7': .* no such memory/)
  t.match(
    resolved('64M$@nodes'),
    /'@nodes' is no place: expected one of @node0/,
  )
  t.match(resolved('64M$@node1+1X'), /'@node1\+1X' is no place/)
  t.match(
    resolved('64M$@node1+64G'),
    /'\$@node1\+64G' is 0x1140000000, which is outside/,
  )
  t.match(resolved('64M$@node0-8G'), /which is outside/)
  t.match(
    JSON.stringify(resolvePlaces('64M$@below4g-end', [])),
    /no such memory/,
  )
  t.end()
})

t.test('whatever is resolved is what a kernel parses, inside of memory', t => {
  const place = fc.constantFrom(
    'node0',
    'node1',
    'node1-end',
    'largest',
    'largest-end',
    'below4g-end',
  )
  const offset = fc
    .tuple(fc.constantFrom('+', '-'), fc.integer({ min: 0, max: 4096 }))
    .map(([sign, mib]) => `${sign}${mib}M`)
  fc.assert(
    fc.property(
      fc.constantFrom('$', '#', '@', '!'),
      place,
      fc.array(offset, { maxLength: 3 }),
      (sign, name, offsets) => {
        const result = resolvePlaces(
          `2M${sign}@${name}${offsets.join('')}`,
          MEMORY,
        )
        if ('error' in result) return /outside/.test(result.error)
        const address = Number(result.value.slice(3))
        return (
          !parseMemmap(result.value).error &&
          MEMORY.some(({ start, end }) => address >= start && address <= end)
        )
      },
    ),
  )
  t.end()
})
