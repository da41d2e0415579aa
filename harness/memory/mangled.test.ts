import t from 'tap'
import { behindDashes, isCut, mangledText, mangledWords } from './mangled.ts'

const G = 2 ** 30
const M = 2 ** 20

t.test('what happened to a word, and what it was', async t => {
  const cases: readonly [
    word: string,
    was: string | null,
    cutsFrom: number | null,
  ][] = [
    ['memmap=3Gx100000000', 'memmap=3G$0x100000000', 3 * G],
    ['memmap=1G!4G,64Mx40000000', 'memmap=1G!4G,64M$0x40000000', 64 * M],
    ['memmap=64M0x140000000', 'memmap=64M$0x140000000', 64 * M],
    ['memmap=64M5G', 'memmap=64M$5G', 64 * M],
    ['memmap=64MG', null, 64 * M],
    ['memmap=3Gbashx100000000', 'memmap=3G$0x100000000', 3 * G],
    ['memmap=3G-bashx100000000', 'memmap=3G$0x100000000', 3 * G],
    ['memmap=3G/usr/bin/zshx100000000', 'memmap=3G$0x100000000', 3 * G],
    [String.raw`memmap=3G\$0x100000000`, 'memmap=3G$0x100000000', 3 * G],
    [String.raw`memmap=3G\\\$4G`, 'memmap=3G$4G', 3 * G],
    ["'memmap=3G$4G'", 'memmap=3G$4G', null],
    ['“memmap=3G$4G”', 'memmap=3G$4G', null],
    ['memmap=3G$4G,', null, null],
    ['memmap=3G', null, 3 * G],
  ]
  t.plan(cases.length)
  for (const [word, was, cutsFrom] of cases)
    t.match(mangledWords(`quiet ${word} ro`), [{ word, was, cutsFrom }], word)
})

t.test('what is as it should be', async t => {
  const fine =
    'memmap=3G$0x100000000 memmap=1G!4G,1G!6G "memmap=64M@1G" mem=4G memmap=exactmap memmap=64M%1G-1+2 x=\\$1'
  t.same(mangledWords(fine), [])
})

t.test('a line that was cut, and what is behind --', async t => {
  t.notOk(isCut('a'.repeat(2046)))
  t.ok(isCut('a'.repeat(2047)))
  t.same(behindDashes('ro -- mem=4G single kvm_intel.tdx=1'), [
    'mem=4G',
    'kvm_intel.tdx=1',
  ])
  t.same(behindDashes('ro mem=4G'), [])
})

t.test('what people read', async t => {
  const [one] = mangledWords('memmap=3Gx100000000')
  t.equal(
    mangledText(one!),
    "'memmap=3Gx100000000' cuts off all memory from 0xc0000000 on: GRUB took the '$0' of '$0x' for a variable of its own; it was 'memmap=3G$0x100000000'; write \\$ in GRUB's menu and in grub.cfg, \\\\\\$ in /etc/default/grub; 'tdxrig bootline' writes it for every boot loader",
  )
})
