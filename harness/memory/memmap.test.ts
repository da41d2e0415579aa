import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { E820 } from './e820.ts'
import { memoryParameters, parseCmdline, splitWords } from './cmdline.ts'
import { parseMem, parseMemmap } from './memmap.ts'

const M = 2 ** 20
const G = 2 ** 30

t.test('every form of memmap=', async t => {
  const range = { start: G, end: G + 64 * M }
  t.same(parseMemmap('64M@1G'), {
    operations: [{ kind: 'add', range, type: E820.RAM }],
  })
  t.same(parseMemmap('64M$1G'), {
    operations: [{ kind: 'add', range, type: E820.RESERVED }],
  })
  t.same(parseMemmap('64M#1G'), {
    operations: [{ kind: 'add', range, type: E820.ACPI }],
  })
  t.same(parseMemmap('64M!0x40000000'), {
    operations: [{ kind: 'add', range, type: E820.PRAM }],
  })
  t.same(parseMemmap('64M%1G-1+7'), {
    operations: [{ kind: 'retype', range, from: 1, to: 7 }],
  })
  t.same(parseMemmap('64M%1G+7'), {
    operations: [{ kind: 'add', range, type: 7 }],
  })
  t.same(parseMemmap('64M%1G-1'), {
    operations: [{ kind: 'remove', range, type: 1 }],
  })
  t.same(parseMemmap('64M%1G'), { operations: [{ kind: 'remove', range }] })
  t.same(parseMemmap('exactmap'), { operations: [{ kind: 'exact' }] })
  t.same(parseMemmap('2G'), { operations: [{ kind: 'limit', size: 2 * G }] })
  t.same(parseMemmap('exactmap,64M$1G'), {
    operations: [
      { kind: 'exact' },
      { kind: 'add', range, type: E820.RESERVED },
    ],
  })
})

t.test(
  'what the kernel would not take, with the element that is wrong',
  async t => {
    const cases: [value: string, element: string, message: RegExp][] = [
      ['', '', /expected a size first/],
      ['$1G', '$1G', /expected a size first/],
      ['64M$', '64M$', /expected an address after '\$'/],
      ['64M?1G', '64M?1G', /unknown operator '\?'/],
      ['64M$1Gx', '64M$1Gx', /unexpected 'x' at the end/],
      ['64M$1G,', '', /expected a size first/],
      ['64M$1G,1G!x', '1G!x', /expected an address/],
      ['0$1G', '0$1G', /size is 0/],
      ['64M%1G-1+1', '64M%1G-1+1', /both 1/],
      ['64M%1G-1+2z', '64M%1G-1+2z', /unexpected 'z'/],
      ['1E@0', '1E@0', /beyond/],
      ['exactmapp', 'exactmapp', /unexpected 'p' at the end/],
    ]
    for (const [value, element, message] of cases) {
      const parsed = parseMemmap(value)
      t.ok(parsed.error, `'${value}' is refused`)
      if (parsed.error) {
        t.equal(parsed.error.element, element)
        t.match(parsed.error.message, message)
      }
    }
    for (const value of ['', 'x', '0', '2Gx', '8E'])
      t.ok(parseMem(value).error, `mem=${value}`)
    t.same(parseMem('3G'), { operations: [{ kind: 'limit', size: 3 * G }] })
  },
)

t.test('what the kernel does all the same', async t => {
  const limit = (size: number) => [{ kind: 'limit', size }]
  const reserved = (start: number, size: number) => [
    { kind: 'add', range: { start, end: start + size }, type: E820.RESERVED },
  ]
  const cases: [value: string, operations: unknown[]][] = [
    // What GRUB leaves of 3G$0x100000000, and of 64M$4G.
    ['3Gx100000000', limit(3 * G)],
    ['64MG', limit(64 * M)],
    [String.raw`64M\$0x100000000`, limit(64 * M)],
    ['64M$1Gx', reserved(G, 64 * M)],
    ['64M$', reserved(0, 64 * M)],
    ['64M$1G,', reserved(G, 64 * M)],
    [
      '1G!x,64M$1G',
      [...parseMemmap('1G!0').operations, ...reserved(G, 64 * M)],
    ],
    ['exactmapp', [{ kind: 'exact' }]],
    ['$1G', []],
    ['64M%1G-1+2z', []],
  ]
  t.plan(cases.length)
  for (const [value, operations] of cases)
    t.same(parseMemmap(value).operations, operations, value)
})

t.test('any text: parsed or refused, never a throw', async t => {
  const text = fc.oneof(
    fc.string(),
    fc.stringMatching(/^[0-9KMGx@$#!%,+-]{0,20}$/),
  )
  holds(
    t,
    'any text: parsed or refused, never a throw',
    fc.property(text, value => {
      const parsed = parseMemmap(value)
      return parsed.error
        ? parsed.error.message !== ''
        : parsed.operations.length > 0
    }),
  )
})

t.test('words and parameters of a command line', async t => {
  t.same(splitWords('a  b="c d" "e=f g"\ty'), ['a', 'b="c d"', '"e=f g"', 'y'])
  t.same(parseCmdline('a=1 "b=x y" c="d" -- mem=1G'), [
    { name: 'a', value: '1' },
    { name: 'b', value: 'x y' },
    { name: 'c', value: 'd' },
  ])
  const all = memoryParameters(
    'quiet mem=3G memmap=1M$2G numa=off numa=noacpi movable-node acpi=off memmap=z',
  )
  t.equal(all.operations.length, 2)
  t.equal(all.sratIgnored, 'off')
  t.equal(all.pamtSource, 'scarce')
  t.equal(memoryParameters('crashkernel=64M').pamtSource, 'moved')
  t.equal(memoryParameters('hugepages=1 crashkernel=1M').pamtSource, 'scarce')
  t.same(all.unpredictable, ['acpi'])
  t.equal(all.errors.length, 1)
  t.match(
    memoryParameters('numa=fake=2 numa=noacpi numa=fake=4U numa=nohmat'),
    {
      fake: '4U',
      sratIgnored: 'noacpi',
      unpredictable: [],
    },
  )
})
