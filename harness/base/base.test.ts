import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { cacheRoot } from './paths.ts'
import { alignDown, alignUp, formatSize, hex, parseSize } from './units.ts'
import { nearest } from './yaml-file.ts'

t.test('sizes', async t => {
  const cases: [text: string, size: number | undefined][] = [
    ['512M', 512 * 2 ** 20],
    ['6g', 6 * 2 ** 30],
    ['6GiB', 6 * 2 ** 30],
    ['0x140000000', 0x140000000],
    ['4096', 4096],
    ['2T', 2 ** 41],
    ['5000T', undefined],
    ['-1', undefined],
    ['1.5G', undefined],
    ['0x', undefined],
    ['', undefined],
    ['1P', undefined],
  ]
  for (const [text, size] of cases) t.equal(parseSize(text), size, `'${text}'`)
  holds(
    t,
    'formatted sizes are read back',
    fc.property(
      fc.nat(2 ** 31),
      n => parseSize(formatSize(n * 512)) === n * 512,
    ),
  )
})

t.test('alignment and hex', async t => {
  holds(
    t,
    'down <= value <= up, both aligned, less than a step away',
    fc.property(
      fc.nat({ max: 2 ** 48 }),
      fc.integer({ min: 0, max: 30 }),
      (value, shift) => {
        const step = 2 ** shift
        const [down, up] = [alignDown(value, step), alignUp(value, step)]
        return (
          down <= value &&
          value <= up &&
          down % step === 0 &&
          up % step === 0 &&
          up - down <= step
        )
      },
    ),
  )
  t.equal(hex(255), '0xff')
  t.equal(hex(0xc000090000000000n), '0xc000090000000000')
})

t.test('suggestions and folders', async t => {
  t.equal(nearest('memroy', ['memory', 'cpus']), 'memory')
  t.equal(nearest('zebra', ['memory', 'cpus']), undefined)
  t.equal(cacheRoot({ XDG_CACHE_HOME: '/x' }), '/x/tdxrig')
  t.match(cacheRoot({ XDG_CACHE_HOME: 'relative' }), /\/\.cache\/tdxrig$/)
})
