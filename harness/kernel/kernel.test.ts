import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findPatches } from '../emulate/patches.ts'
import { findSites } from '../emulate/sites.ts'
import { droppedOptions, parseOptions } from './config.ts'
import { KernelImage } from './elf.ts'
import { errorLines } from './make.ts'
import { loadRecipe, recipeNames } from './recipe.ts'

t.test('options of a .config, and those that were dropped', async t => {
  const asked = parseOptions(
    'CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="x"\nnoise\n',
  )
  t.same(
    [...asked],
    [
      ['A', 'y'],
      ['B', 'm'],
      ['C', 'n'],
      ['D', '"x"'],
    ],
  )
  t.same(
    droppedOptions(
      asked,
      parseOptions('CONFIG_A=y\nCONFIG_C=y\nCONFIG_D="x"\n'),
    ),
    [
      { name: 'B', asked: 'm', got: 'n' },
      { name: 'C', asked: 'n', got: 'y' },
    ],
  )
})

t.test('the lines of a build log that say why', async t => {
  const log = [
    '  CC a.o',
    'a.c:3:1: error: expected ;',
    'make[2]: *** [a.o] Error 1',
    '  CC b.o',
  ].join('\n')
  t.same(errorLines(log), [
    'a.c:3:1: error: expected ;',
    'make[2]: *** [a.o] Error 1',
  ])
  t.same(
    errorLines('one\ntwo\n'),
    ['one', 'two'],
    'the tail when nothing says error',
  )
  t.same(errorLines("x.o: in function f: undefined reference to `g'").length, 1)
})

t.test('the shipped recipes load', async t => {
  const names = await recipeNames()
  t.ok(names.includes('upstream-6.12'))
  for (const name of names)
    t.match(await loadRecipe(name), { kind: 'source', name })
  await t.rejects(
    loadRecipe('upstream-6.13'),
    /no kernel 'upstream-6.13'; did you mean 'upstream-6.12'/,
  )
})

/** A real ELF file, from the compiler, with the code we look for. */
const ASSEMBLY = `
.text
.globl __seamcall
.type __seamcall, @function
__seamcall: mov %rdi, %rax
 .byte 0x66,0x0f,0x01,0xcf
 ret
.size __seamcall, . - __seamcall
.globl x__seamcall
x__seamcall: ret
.globl tdx_init
.type tdx_init, @function
tdx_init: mov $0x87, %ecx
 push %rbx
 rdmsr
 ret
.size tdx_init, . - tdx_init
.globl reset_tdx_pages
.type reset_tdx_pages, @function
reset_tdx_pages: nop
 .byte 0x66,0x0f,0x38,0xf8,0x02
 .byte 0x66,0x41,0x0f,0x38,0xf8,0x00
 .byte 0xc3,0x0f,0x38,0xf8,0x02
.size reset_tdx_pages, . - reset_tdx_pages
`

t.test('an ELF image: symbols, bytes, sites', async t => {
  const folder = t.testdir({
    'a.s': ASSEMBLY,
    'b.s': '.text\n.globl f\nf: ret\n',
    text: 'no ELF',
  })
  const link = (source: string, ...flags: string[]): string => {
    const out = join(folder, `${source}${flags.join('')}.elf`)
    execFileSync(
      'gcc',
      [
        '-nostdlib',
        '-static',
        '-Wl,-Ttext=0x7f000000',
        '-Wl,-e0',
        ...flags,
        '-o',
        out,
        join(folder, source),
      ],
      { stdio: 'pipe' },
    )
    return out
  }
  const image = await KernelImage.open(link('a.s'))
  const seamcall = image.symbol('__seamcall')!
  t.equal(seamcall.size, 8n)
  t.same(
    Buffer.from(await image.bytesAt(seamcall.address, 8)).toString('hex'),
    '4889f8660f01cfc3',
  )
  t.same((await image.bytesAt(0x1n, 8)).length, 0, 'nothing there')
  t.equal(image.symbol('seamcall'), undefined, 'the end of another name')
  t.equal(image.symbol('x__seamcall')!.address, seamcall.address + 8n)
  t.equal(image.symbolize(seamcall.address + 3n), '__seamcall+0x3')
  t.equal(image.symbolize(0x10n), undefined)
  t.match(await findSites(image), [
    { kind: 'seamcall', address: seamcall.address + 3n, length: 4 },
    {
      kind: 'keyid-msr',
      address: image.symbol('tdx_init')!.address + 6n,
      length: 2,
    },
  ])
  const pages = image.symbol('reset_tdx_pages')!.address
  t.match(
    await findPatches(image),
    [
      { address: image.physicalAddress(pages + 1n), bytes: { length: 5 } },
      { address: image.physicalAddress(pages + 6n), bytes: { length: 6 } },
    ],
    'MOVDIR64B without and with REX, and nothing that only looks like it',
  )
  await t.rejects(
    findSites(await KernelImage.open(link('b.s'))),
    /build this kernel with CONFIG_INTEL_TDX_HOST=y/,
  )
  await t.rejects(
    KernelImage.open(link('a.s', '-s')),
    /no symbol table: use the unstripped vmlinux/,
  )
  await t.rejects(KernelImage.open(join(folder, 'text')), /found no ELF file/)
  await t.rejects(KernelImage.open(join(folder, 'none')), /found no such file/)
  const truncated = join(folder, 'truncated')
  writeFileSync(
    truncated,
    Buffer.concat([
      Buffer.from('7f454c460201', 'hex'),
      Buffer.alloc(12),
      Buffer.from([62, 0]),
      Buffer.alloc(20),
      Buffer.alloc(24, 9),
    ]),
  )
  await t.rejects(KernelImage.open(truncated), /truncated/)
})
