import t from 'tap'
import { factsOf } from '../testing/consoles.ts'

t.test('messages that were broken by a mail program or a terminal', async t => {
  const broken = [
    '[0.303913] virt/tdx: BIOS enabled: private KeyID range [64, ',
    '128)[0.303916] virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ',
    'ACPI S3.',
    '[    1.0] virt/tdx: initialization failed: TDMR [0x0,',
    '0x80000000): reserved areas',
    'exhausted.',
    '[    1.1] BIOS-e820: [mem 0x0000000000100000-0x00000000',
    '5d168fff] usable',
    '[    1.2] BIOS-e820: [mem 0x000000005d169000-0x000000005d22afff]',
    'ACPI data',
  ].join('\n')
  const { tdx, firmwareMap, unread } = factsOf(broken)
  t.same(tdx.keyids, [64, 128])
  t.equal(tdx.stage, 'reserved-areas')
  t.same(tdx.unknown, [])
  t.match(tdx.lines, [{ line: 1 }, { line: 2 }, { line: 4 }])
  t.match(firmwareMap, [
    { start: 0x100000, end: 0x5d169000, type: 1, line: 7 },
    { start: 0x5d169000, end: 0x5d22b000, type: 3, line: 9 },
  ])
  t.equal(unread, 0)
})

t.test('a long command line', async t => {
  const words =
    'root=/dev/sda1 ro nohibernate memmap=64M$0x140000000 memmap=1G!4G kvm_intel.tdx=1'
  const at = (width: number, text: string): string[] =>
    text.match(new RegExp(`.{1,${width}}`, 'g')) ?? []
  const whole = `[    0.000000] Command line: BOOT_IMAGE=/vmlinuz ${words}`
  const next = '[    0.000000] x86/fpu: x87 FPU will use FXSAVE'
  for (const lines of [at(80, whole), at(100, whole), [whole]])
    t.equal(
      factsOf([...lines, next].join('\n')).cmdline,
      `BOOT_IMAGE=/vmlinuz ${words}`,
      `${lines.length} lines`,
    )
  const blank = whole.lastIndexOf(' ', 90)
  t.ok(blank > 60)
  const mail = `${whole.slice(0, blank)}\n${whole.slice(blank + 1)}`
  t.equal(factsOf(`${mail}\n${next}`).cmdline, `BOOT_IMAGE=/vmlinuz ${words}`)
})

t.test('lines that only stand below each other are left alone', async t => {
  const { tdx, cmdline } = factsOf(
    [
      'virt/tdx: module verson: 1.5.1.0',
      'virt/tdx: module initialized',
      '[    0.0] Command line: ro quiet',
      'root@host:~# dmesg | grep tdx',
    ].join('\n'),
  )
  t.equal(tdx.outcome, 'initialized')
  t.same(tdx.unknown, ['virt/tdx: module verson: 1.5.1.0'])
  t.equal(cmdline, 'ro quiet')
})
