import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import {
  KALLSYMS_ADDRESS,
  KALLSYMS_FORMS,
  type NamedAddress,
  encodeKallsyms,
  strippedElf,
} from '../testing/kallsyms.ts'
import { holds } from '../testing/property.ts'
import { KernelImage } from './elf.ts'
import { readKallsyms } from './kallsyms.ts'
import { withSymbols } from './with-symbols.ts'

const LETTERS = Array.from('abdmsty_.0123456789T')

const symbolOf = fc.record({
  type: fc.constantFrom('T', 't', 'd', 'B', 'r'),
  name: fc.string({
    unit: fc.constantFrom(...LETTERS),
    minLength: 1,
    maxLength: 300,
  }),
  gap: fc.integer({ min: 0, max: 5000 }),
})

/** Enough of them to be a kernel, some long, some at one address. */
const symbolsOf = fc
  .array(symbolOf, { minLength: 1, maxLength: 30 })
  .map(few => {
    let address = KALLSYMS_ADDRESS
    const symbols: NamedAddress[] = []
    for (let i = 0; i < 300; i++) {
      const { type, name, gap } = few[i % few.length]!
      symbols.push({ type, name: `${name}${i}`, address })
      address += BigInt(gap)
    }
    return symbols
  })

const loadedAll = (bytes: Buffer) => [
  { address: KALLSYMS_ADDRESS, file: { start: 0, end: bytes.length } },
]

for (const [name, form] of Object.entries(KALLSYMS_FORMS))
  t.test(`kallsyms as in ${name}: all symbols come back`, async t => {
    holds(
      t,
      'symbols',
      fc.property(symbolsOf, symbols => {
        const bytes = encodeKallsyms(symbols, form)
        return isDeepStrictEqual(readKallsyms(bytes, loadedAll(bytes)), symbols)
      }),
      40,
    )
  })

const plain: NamedAddress[] = Array.from({ length: 600 }, (_, i) => ({
  type: i % 3 === 0 ? 'T' : 'd',
  name: `symbol_${i}`,
  address: KALLSYMS_ADDRESS + BigInt(16 * i),
}))

t.test('addresses within the area of a CPU come first', async t => {
  const symbols = [
    { type: 'A', name: 'fixed_percpu_data', address: 0n },
    { type: 'A', name: 'cpu_number', address: 0x1f000n },
    ...plain,
  ]
  const bytes = encodeKallsyms(symbols, KALLSYMS_FORMS['6.12'])
  t.same(readKallsyms(bytes, loadedAll(bytes)), symbols)
})

t.test('the tokens follow upon numbers, without a gap', async t => {
  // Debian's 6.1.187: 3 bytes each, and a multiple of 8 of them.
  const symbols = plain.slice(0, 8 * 40)
  const bytes = encodeKallsyms(symbols, KALLSYMS_FORMS['the stable 6.1'])
  t.same(readKallsyms(bytes, loadedAll(bytes)), symbols)
})

t.test('what is damaged is no kallsyms', async t => {
  const bytes = encodeKallsyms(plain, KALLSYMS_FORMS['7.3'])
  const zero = bytes.indexOf('0\x001\x00', 0, 'latin1')
  const changes: [name: string, change: (copy: Buffer) => Buffer][] = [
    ['a token', copy => copy.fill('x', zero, zero + 1)],
    ['the index', copy => copy.fill(0xff, copy.indexOf('9\0') + 500)],
    ['the number of names', copy => copy.fill(1, 64, 66)],
    ['a length', copy => copy.fill(0, 68, 69)],
    ['cut off', copy => copy.subarray(0, -4000)],
    ['empty', () => Buffer.alloc(0)],
    ['nothing of it', copy => Buffer.alloc(copy.length)],
  ]
  for (const [name, change] of changes) {
    const changed = change(Buffer.from(bytes))
    t.equal(readKallsyms(changed, loadedAll(changed)), undefined, name)
  }
})

t.test('a stripped image gets a symbol table', async t => {
  const folder = t.testdir({})
  const path = join(folder, 'vmlinux')
  const elf = strippedElf(encodeKallsyms(plain, KALLSYMS_FORMS['7.3']))
  writeFileSync(path, elf)
  t.equal(await KernelImage.hasSymbols(path), false)
  const named = withSymbols(elf, path)
  t.ok(named.subarray(64, elf.length).equals(elf.subarray(64)), 'bytes stay')
  writeFileSync(path, named)
  t.equal(await KernelImage.hasSymbols(path), true)
  const image = await KernelImage.open(path)
  t.equal(image.symbolCount, plain.length + 1, 'and the one that is nothing')
  t.same(image.symbol('symbol_7'), {
    name: 'symbol_7',
    address: KALLSYMS_ADDRESS + 0x70n,
    size: 16n,
  })
  t.equal(image.symbolize(KALLSYMS_ADDRESS + 0x75n), 'symbol_7+0x5')
  t.same(
    Buffer.from(await image.bytesAt(KALLSYMS_ADDRESS, 4)),
    Buffer.alloc(4, 0xa5),
  )
})

t.test(
  'an image without symbols is refused, and what to do is said',
  async t => {
    for (const [elf, message] of [
      [
        strippedElf(Buffer.alloc(4096)),
        /no symbol table and no kallsyms: build/,
      ],
      [Buffer.from('\x7fELF', 'latin1'), /found no ELF file/],
      [Buffer.alloc(64), /found no ELF file/],
      [strippedElf(Buffer.alloc(64)).subarray(0, 0x1020), /truncated ELF/],
      [
        Buffer.from(strippedElf(Buffer.alloc(64))).fill(0xb7, 18, 19),
        /for another machine/,
      ],
    ] as const)
      t.throws(() => withSymbols(elf, 'vmlinux'), { code: /^KERNEL_/, message })
  },
)

t.test('a forged image is given up in bounded time', async t => {
  const real = encodeKallsyms(plain, KALLSYMS_FORMS['7.3'])
  const zero = real.indexOf('0\x001\x00', 0, 'latin1')
  // Each word may be the number of names, and a name may begin at each byte.
  const words = Buffer.alloc(1_000_000)
  for (let at = 0; at < words.length; at += 4)
    words.writeUInt32LE(0x00020473, at)
  const forged = Buffer.concat([words, real.subarray(zero - 1000)])
  t.equal(readKallsyms(forged, loadedAll(forged)), undefined)
})

t.test('many symbols at one address', async t => {
  const many = Array.from({ length: 200_000 }, (_, i) => ({
    type: 'T',
    name: `s${i % 7}`,
    address: KALLSYMS_ADDRESS + (i < 100_000 ? 0n : 64n),
  }))
  const folder = t.testdir({})
  const path = join(folder, 'vmlinux')
  const elf = strippedElf(encodeKallsyms(many, KALLSYMS_FORMS['7.3']))
  writeFileSync(path, withSymbols(elf, path))
  const image = await KernelImage.open(path)
  t.match(image.symbol('s3'), { size: 64n })
})
