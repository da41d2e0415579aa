import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { interposedCode, locate } from '../emulate/kernel-sites.ts'
import { findPatches } from '../emulate/patches.ts'
import type { Site } from '../emulate/sites.ts'
import { findFeatureBit } from '../emulate/x2apic.ts'
import { KernelImage } from './elf.ts'
import { kernelTraits } from './kernel-traits.ts'

/** Images that gcc makes here: unit tests have no compiler. */

/** Links an assembly source at a low address. */
const linkElf = (
  source: string,
  out: string,
  flags: readonly string[] = [],
): void => {
  const layout = ['-nostdlib', '-static', '-Wl,-Ttext=0x7f000000', '-Wl,-e0']
  execFileSync('gcc', [...layout, ...flags, '-o', out, source], {
    stdio: 'pipe',
  })
}

const findSites = async (image: KernelImage): Promise<readonly Site[]> =>
  (await locate(image)).sites

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

t.test('bytes are the same wherever a read begins and ends', async t => {
  const count = 800_000
  const folder = t.testdir({
    'n.s': `.text\n.globl numbers\nnumbers:\n.set i, 0\n.rept ${count}\n.long i\n.set i, i + 1\n.endr\n`,
  })
  const out = join(folder, 'n.elf')
  linkElf(join(folder, 'n.s'), out)
  const image = await KernelImage.open(out)
  const { address } = image.symbol('numbers')!
  const all = Buffer.from(
    Uint32Array.from({ length: count }, (_, i) => i).buffer,
  )
  // Files are read by blocks of 64 KiB, and what is longer than 2 MiB at once.
  for (const [start, length] of [
    [0, 0],
    [0, 8],
    [60_000, 20_000],
    [65_535, 2],
    [131_072, 65_536],
    [1, 300_000],
    [3, 3_000_000],
    [all.length - 5, 4096],
    [60_000, 20_000],
  ] as const) {
    const found = await image.bytesAt(address + BigInt(start), length)
    const expected = all.subarray(start, start + length)
    t.ok(expected.equals(found), `${length} bytes from ${start}`)
  }
})

t.test('an ELF image: symbols, bytes, sites', async t => {
  const folder = t.testdir({
    'a.s': ASSEMBLY,
    'b.s': '.text\n.globl f\nf: ret\n',
    'c.s': '.text\n.globl tdx_enable\ntdx_enable: ret\n',
    text: 'no ELF',
  })
  const link = (source: string, ...flags: string[]): string => {
    const out = join(folder, `${source}${flags.join('')}.elf`)
    linkElf(join(folder, source), out, flags)
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
      { address: pages + 1n, bytes: { length: 5 } },
      { address: pages + 6n, bytes: { length: 6 } },
    ],
    'MOVDIR64B without and with REX, and nothing that only looks like it',
  )
  t.match(
    await locate(await KernelImage.open(link('b.s'))),
    { hostsTdx: false, sites: [], patches: [] },
    'without TDX host support nothing is answered',
  )
  await t.rejects(
    locate(await KernelImage.open(link('c.s'))),
    { code: 'NO_TDX_HOST', message: /found tdx_enable and not that/ },
    'one that has it in a form that is not known',
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

/** x2apic_enabled() as compilers write it, around reads of two MSRs. */
const x2apicSource = (test: string): string => `
.data
.globl boot_cpu_data
.type boot_cpu_data, @object
boot_cpu_data: .skip 64
.size boot_cpu_data, . - boot_cpu_data
.text
.skip 64
.globl native_read_msr_safe
native_read_msr_safe: ret
.globl __seamcall
.type __seamcall, @function
__seamcall: .byte 0x66,0x0f,0x01,0xcf
 ret
.size __seamcall, . - __seamcall
.globl detect_keyids
.type detect_keyids, @function
detect_keyids: mov $0x87, %edi
 lea -4(%rsp), %rsi
 call native_read_msr_safe
 cmpl $1, elsewhere(%rip)
 ${test}
 jz 1f
 mov $0x1b, %edi
 call native_read_msr_safe
1: ret
.size detect_keyids, . - detect_keyids
.data
elsewhere: .long 0
`

t.test('MSR reads that were not inlined, and the x2APIC bit', async t => {
  const forms = [
    'mov boot_cpu_data+0x38(%rip), %rax; bt $0x15, %eax',
    'testb $0x20, boot_cpu_data+0x3a(%rip)',
    'testl $0x200000, boot_cpu_data+0x38(%rip)',
    'btl $21, boot_cpu_data+0x38(%rip)',
  ]
  const folder = t.testdir({})
  for (const [i, form] of forms.entries()) {
    const source = join(folder, `${i}.s`)
    const out = join(folder, `${i}.elf`)
    writeFileSync(source, x2apicSource(form))
    linkElf(source, out)
    const image = await KernelImage.open(out)
    const sites = await findSites(image)
    t.match(
      sites.map(site => [site.kind, site.form, site.symbol, site.length]),
      [
        ['seamcall', 'instruction', '__seamcall', 4],
        ['keyid-msr', 'read-msr-call', 'detect_keyids', 5],
        ['apic-base-msr', 'read-msr-call', 'detect_keyids', 5],
      ],
      'found in a function that is not called tdx_init',
    )
    t.same(
      await findFeatureBit(image, sites),
      { address: image.symbol('boot_cpu_data')!.address + 0x3an, mask: 0x20 },
      form,
    )
    t.same((await interposedCode(image)).missing, [])
    t.match(await kernelTraits(image), {
      series: undefined,
      trigger: 'none',
      pvh: false,
    })
  }
})

/** A kernel that turns VMX on, with one way to name the operand of VMXON. */
const vmxSource = (vmxon: string): string => `${ASSEMBLY}
.globl x86_vmx_enable_virtualization_cpu
.type x86_vmx_enable_virtualization_cpu, @function
x86_vmx_enable_virtualization_cpu: mov $0x2000, %edi
 ${vmxon}
 ret
.size x86_vmx_enable_virtualization_cpu, . - x86_vmx_enable_virtualization_cpu
.globl x86_vmx_disable_virtualization_cpu
.type x86_vmx_disable_virtualization_cpu, @function
x86_vmx_disable_virtualization_cpu:
1: vmxoff
 ret
2: ret
.size x86_vmx_disable_virtualization_cpu, . - x86_vmx_disable_virtualization_cpu
.globl x86_virt_init
.type x86_virt_init, @function
x86_virt_init: mov $0x480, %ecx
 rdmsr
 ret
.size x86_virt_init, . - x86_virt_init
.section __ex_table, "a"
.globl __start___ex_table
__start___ex_table:
 .long 2b - ., 2b - ., 1
 .long 1b - ., 2b - ., 1
 .long __seamcall + 3 - ., __seamcall + 7 - ., 2
.globl __stop___ex_table
__stop___ex_table:
`

t.test('VMX of the kernel itself, and where it goes on', async t => {
  const forms: [vmxon: string, length: number][] = [
    ['vmxon (%rax)', 4],
    ['vmxon -0x18(%rbp)', 5],
    ['vmxon 8(%rsp)', 6],
    ['vmxon 0x1000(%rbp)', 8],
    ['vmxon 0x1000(%rsp)', 9],
    ['vmxon __seamcall(%rip)', 8],
    ['vmxon 0x1000', 9],
  ]
  const folder = t.testdir({})
  for (const [i, [vmxon, length]] of forms.entries()) {
    const source = join(folder, `${i}.s`)
    const out = join(folder, `${i}.elf`)
    writeFileSync(source, vmxSource(vmxon))
    linkElf(source, out)
    const image = await KernelImage.open(out)
    const { sites, fixups } = await locate(image)
    t.match(
      sites.map(site => [site.kind, site.length]),
      [
        ['seamcall', 4],
        ['keyid-msr', 2],
        ['vmx-basic-msr', 2],
        ['vmxon', length],
        ['vmxoff', 3],
      ],
      vmxon,
    )
    const off = image.symbol('x86_vmx_disable_virtualization_cpu')!.address
    const seamcall = image.symbol('__seamcall')!.address
    t.same(
      [...fixups],
      [
        [off, { address: off + 4n, wantsTrap: false, errorIn: undefined }],
        [
          seamcall + 3n,
          { address: seamcall + 7n, wantsTrap: true, errorIn: undefined },
        ],
      ],
    )
    const on = image.symbol('x86_vmx_enable_virtualization_cpu')!.address
    t.same(
      (await findPatches(image)).at(-1),
      {
        address: on,
        physical: image.physicalAddress(on),
        bytes: Buffer.from('bf00000000', 'hex'),
      },
      'CR4.VMXE stays 0',
    )
  }
})
