import t from 'tap'
import type { Facts } from './facts.ts'
import { ConsoleReader } from './reader.ts'

const bootsOf = (...lines: string[]): readonly Facts[] => {
  const reader = new ConsoleReader()
  reader.push(Buffer.from(`${lines.join('\n')}\n`))
  reader.end()
  return reader.boots()
}

/** A boot with stamps of its own. */
const boot = (shift: number, version = '6.8.0'): string[] => [
  `[    0.000000] Linux version ${version} (gcc) #1`,
  '[    0.000000] Command line: ro nohibernate',
  '[    0.000000] BIOS-provided physical RAM map:',
  '[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable',
  '[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000005d168fff] usable',
  '[    0.000000] x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT',
  `[    0.20000${shift}] tsc: Detected 2000.000 MHz processor`,
  `[    1.10834${shift}] virt/tdx: BIOS enabled: private KeyID range [32, 64)`,
  `[    9.00000${shift}] virt/tdx: module initialized`,
]
const unstamped = (lines: readonly string[]): string[] =>
  lines.map(line => line.replace(/^\[[^\]]*\] /, ''))

t.test('two boots are two', async t => {
  const two = bootsOf(...boot(1), ...boot(2))
  t.match(two, [
    { kernel: '6.8.0', firstLine: 1, lastLine: 9, at: { kernel: 1 } },
    { kernel: '6.8.0', firstLine: 10, lastLine: 18, at: { cmdline: 11 } },
  ])
  for (const facts of two) {
    t.equal(facts.firmwareMap.length, 2)
    t.equal(facts.tdx.outcome, 'initialized')
  }
  t.equal(bootsOf(...unstamped([...boot(1), ...boot(2)])).length, 2)
  // Only what grep leaves of them.
  const found = [...boot(1), ...boot(2)].filter(line => line.includes('tdx'))
  t.match(bootsOf(...found), [{ lastLine: 2 }, { firstLine: 3 }])
  t.equal(
    bootsOf(
      ...boot(1).slice(5),
      '-- Boot 0123456789abcdef0123456789abcdef --',
      ...boot(2).slice(5),
    ).length,
    2,
  )
  t.match(bootsOf(...boot(1), ...boot(2, '6.9.0').slice(0, 3)), [
    { kernel: '6.8.0' },
    { kernel: '6.9.0' },
  ])
})

t.test('what is said again is one boot', async t => {
  const one = bootsOf(...boot(1))
  const counted = ({ firmwareMap, tdx }: Facts): unknown => [
    firmwareMap.length,
    tdx.lines.map(({ text }) => text),
  ]
  const cases: [name: string, lines: string[]][] = [
    ['a replayed console', [...boot(1).slice(0, 8), ...boot(1)]],
    [
      'a replayed console without stamps',
      [
        ...unstamped(boot(1).slice(0, 7)),
        'printk: legacy console [ttyS0] enabled',
        ...unstamped(boot(1)),
      ],
    ],
    ['two consoles in one log', boot(1).flatMap(line => [line, line])],
    ['head and tail of a report', [...boot(1), '...', ...boot(1).slice(-2)]],
    ['the head again', [...boot(1), '...', ...boot(1).slice(0, 4)]],
    [
      'a version above the log',
      ['Linux version 6.8.0 (gcc) #1', '', ...boot(1)],
    ],
  ]
  for (const [name, lines] of cases) {
    const found = bootsOf(...lines)
    t.equal(found.length, 1, name)
    t.equal(found[0]?.firmwareMap.length, 2, `${name}: the map`)
    t.equal(found[0]?.tdx.outcome, 'initialized', name)
  }
  t.same(
    counted(bootsOf(...boot(1).slice(0, 8), ...boot(1))[0]!),
    counted(one[0]!),
  )
})

t.test('a thousand boots are bounded, and counted', async t => {
  const reader = new ConsoleReader()
  for (let i = 0; i < 1000; i++)
    reader.push(Buffer.from(`${unstamped(boot(1)).join('\n')}\n`))
  reader.end()
  t.equal(reader.boots().length + reader.forgotten, 1000)
  t.ok(reader.boots().length <= 64)
})

t.test('boots that look alike at first are told apart', async t => {
  const early =
    '[    0.000005] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved'
  const withEarly = (lines: string[]): string[] => lines.toSpliced(5, 0, early)
  const other = boot(2, '6.9.0')
  t.match(bootsOf(...withEarly(boot(1)), ...withEarly(other)), [
    { kernel: '6.8.0', firmwareMap: { length: 2 } },
    { kernel: '6.9.0', firmwareMap: { length: 2 } },
  ])
  const same = boot(2).map(line => line.replace('ro nohibernate', 'ro quiet'))
  t.match(bootsOf(...withEarly(boot(1)), ...withEarly(same)), [
    { cmdline: 'ro nohibernate' },
    { cmdline: 'ro quiet' },
  ])
  // A capture that began within a boot.
  t.match(
    bootsOf(
      '[   10.100000] virt/tdx: module initialized',
      '[  500.000000] reboot: Restarting system',
      ...boot(2).slice(0, 8),
    ),
    [
      { kernel: null, tdx: { outcome: 'initialized' } },
      { kernel: '6.8.0', tdx: { outcome: 'unfinished', stage: 'detect' } },
    ],
  )
})

t.test('reports that show a boot twice', async t => {
  const whole = boot(1)
  const cmr = '[    8.000001] virt/tdx: CMR: [0x100000, 0x6f800000)'
  const srat =
    '[    0.000001] ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]'
  const log = [...whole.slice(0, 6), srat, ...whole.slice(6, 8), cmr, whole[8]!]
  const tdx = log.filter(line => /tdx|SRAT/.test(line))
  const cases: [name: string, lines: string[]][] = [
    ['the log, then a grep of it', [...log, '$ dmesg | grep tdx', ...tdx]],
    ['a grep, then the log', [...tdx, '$ dmesg', ...log]],
    ['/proc/version below it', [...log, 'Linux version 6.8.0 (gcc) #1']],
  ]
  for (const [name, lines] of cases) {
    const found = bootsOf(...lines)
    t.equal(found.length, 1, name)
    t.match(found[0], { kernel: '6.8.0', srat: { length: 1 } }, name)
    t.equal(found[0]?.tdx.cmrs?.length, 1, name)
    t.equal(found[0]?.firmwareMap.length, 2, name)
  }
})

t.test('boots whose clocks begin alike, with another map', async t => {
  const coarse = ['[    0.030000] tsc: a', '[    0.030000] tsc: b']
  const first = boot(1).toSpliced(6, 0, ...coarse)
  const second = boot(2)
    .toSpliced(6, 0, ...coarse)
    .filter(line => !line.includes('tdx'))
    .map(line => line.replace('5d168fff', '5d100fff'))
  const found = bootsOf(...first, ...second)
  t.match(found, [
    { tdx: { outcome: 'initialized' } },
    { tdx: { outcome: 'absent' }, kernel: '6.8.0', firmwareMap: { length: 2 } },
  ])
})
