import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { memparse } from './memparse.ts'

t.test('numbers as the kernel reads them', async t => {
  const cases: [text: string, value: bigint | undefined, rest: string][] = [
    ['64M', 64n << 20n, ''],
    ['64m$1G', 64n << 20n, '$1G'],
    ['0x140000000', 0x140000000n, ''],
    ['0x1E', 0x1en, ''],
    ['1E', 1n << 60n, ''],
    ['010M', 8n << 20n, ''],
    ['08', 0n, '8'],
    ['0x', 0n, 'x'],
    ['0xK', 0n, 'xK'],
    ['1GG', 1n << 30n, 'G'],
    ['18446744073709551616', 0n, ''],
    ['', undefined, ''],
    ['$1G', undefined, ''],
    ['-1', undefined, ''],
    [' 1', undefined, ''],
  ]
  for (const [text, value, rest] of cases) {
    const parsed = memparse(text)
    t.equal(parsed?.value, value, `value of '${text}'`)
    if (value !== undefined) t.equal(parsed?.rest, rest, `rest of '${text}'`)
  }
})

t.test('any number with any suffix comes back', async t => {
  const suffix = fc.constantFrom(
    ['', 0n],
    ['K', 10n],
    ['m', 20n],
    ['G', 30n],
    ['t', 40n],
  ) as fc.Arbitrary<[string, bigint]>
  holds(
    t,
    'any number with any suffix comes back',
    fc.property(
      fc.bigInt(0n, (1n << 24n) - 1n),
      suffix,
      fc.boolean(),
      (n, [s, shift], hexadecimal) => {
        const parsed = memparse(
          (hexadecimal ? `0x${n.toString(16)}` : n.toString()) + s,
        )
        return parsed?.value === n << shift && parsed.rest === ''
      },
    ),
  )
})

t.test('any text: never a throw, the rest is its end', async t => {
  holds(
    t,
    'any text: never a throw, the rest is its end',
    fc.property(fc.string(), text => {
      const parsed = memparse(text)
      return (
        parsed === undefined ||
        (text.endsWith(parsed.rest) && parsed.value < 1n << 64n)
      )
    }),
  )
})
