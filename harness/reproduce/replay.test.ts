import fc from 'fast-check'
import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { predictCase } from '../judge/prediction.ts'
import { DEFAULT_BOARD } from '../board/index.ts'
import type { CaseBody } from '../scenario/case.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import { KEYIDS, factsOf, line } from '../testing/consoles.ts'
import { holds } from '../testing/property.ts'
import { bodyOf as bodyOfCell } from '../testing/records.ts'
import { type Replay, replay } from './replay.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'

const LARGE = { memory: 512 * GIB }

const logOf = (...texts: string[]): string =>
  texts.map(text => line(text)).join('')
const replayed = (log: string, memory = LARGE.memory): Replay =>
  replay(factsOf(log), { memory, board: DEFAULT_BOARD })

const bodyOf = ({ input }: Replay): CaseBody => bodyOfCell(input)

const HEAD = [
  'Linux version 6.8.0-1004-intel (x)',
  'BIOS-provided physical RAM map:',
]
const MAP = [
  'BIOS-e820: [mem 0x0000000000000000-0x000000000009efff] usable',
  'BIOS-e820: [mem 0x000000000009f000-0x00000000000fffff] reserved',
  'BIOS-e820: [mem 0x0000000000100000-0x000000006f7fffff] usable',
  'BIOS-e820: [mem 0x000000006f800000-0x000000008fffffff] reserved',
  'BIOS-e820: [mem 0x0000000100000000-0x000000207bffffff] usable',
]
const END = 'x86/PAT: Configuration'

t.test('the machine of a log', async t => {
  const made = replayed(
    logOf(
      ...HEAD,
      'Command line: BOOT_IMAGE=/boot/vmlinuz root=UUID=1234-abc ro memmap=64M$0x140000000 numa=on nohibernate hostname=secret',
      ...MAP,
      END,
      'SRAT: PXM 0 -> APIC 0x00 -> Node 0',
      'SRAT: PXM 5 -> APIC 0x80 -> Node 1',
      'ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]',
      'ACPI: SRAT: Node 0 PXM 0 [mem 0x100000000-0x107fffffff]',
      'ACPI: SRAT: Node 1 PXM 5 [mem 0x1080000000-0x207fffffff] hotplug',
      'smpboot: CPU0: INTEL(R) XEON(R) PLATINUM 8580 (family: 0x6, model: 0xcf, stepping: 0x2)',
      'smp: Brought up 2 nodes, 224 CPUs',
      'virt/tdx: BIOS enabled: private KeyID range [64, 128)',
      'virt/tdx: CMR: [0x100000, 0x6f800000)',
      'virt/tdx: CMR: [0x100000000, 0x207c000000)',
      'virt/tdx: module initialized',
    ),
  )
  t.match(made.input, {
    kernels: ['upstream-6.12'],
    machine: {
      cpus: 2,
      cpuModel: 'emerald-rapids',
      firmware: {
        srat: [
          { domain: 0, cpus: '0' },
          { domain: 5, cpus: '1' },
          { domain: 0, start: '0x0', end: '2G' },
          { domain: 0, start: '4G', end: '66G' },
          { domain: 5, start: '66G', end: '130G', hotplug: true },
        ],
      },
    },
    tdx: {
      keyids: { mktme: 63, tdx: 64 },
      cmrs: [{ start: '1M', end: '1784M' }, { start: '4G' }],
    },
    cmdline: {
      memmap: ['64M$0x140000000'],
      append: ['numa=on', 'nohibernate'],
    },
    expect: { tdx: 'initialized' },
  })
  t.equal(made.input.machine.firmware?.e820?.length, MAP.length)
  const text = scenarioFile(made.input, made.approximations)
  t.notMatch(text, /secret|UUID|1234-abc|vmlinuz/, 'nothing private')
  t.match(made.approximations.join('\n'), /4 words of the command line/)
  t.match(made.approximations.join('\n'), /2 CPUs here, .* and 224 there/)
  const { layout } = predictCase(bodyOf(made), { series: MAINLINE_6_8 })
  t.same(
    layout.regions.map(({ node }) => node),
    [0, 0, 0, 1],
  )
})

t.test('how it ended in the log is what is expected', async t => {
  const base = [...HEAD, ...MAP, END]
  const keyids = 'virt/tdx: BIOS enabled: private KeyID range [32, 64)'
  const cases: [name: string, texts: string[], input: object][] = [
    [
      'a status of the module',
      [keyids, 'virt/tdx: SEAMCALL (0x21) failed: 0xc000092100000122'],
      {
        tdx: { faults: [{ leaf: 'SYS.INIT', status: '0xc000092100000122' }] },
        expect: { tdx: 'failed', stage: 'sys-init' },
      },
    ],
    [
      'an old module',
      [
        keyids,
        'virt/tdx: SEAMCALL (0x22) failed: 0xc000050500000000',
        'virt/tdx: module initialization failed (-5)',
      ],
      {
        tdx: { module: '1.0' },
        expect: { tdx: 'failed', stage: 'sys-info', errno: -5 },
      },
    ],
    [
      'no module',
      [keyids, 'virt/tdx: module not loaded'],
      { tdx: { module: 'none' }, expect: { tdx: 'failed', stage: 'sys-init' } },
    ],
    ['nobody asked', [keyids], { steps: [], expect: { tdx: 'unfinished' } }],
    [
      'one KeyID',
      [
        'virt/tdx: BIOS enabled: private KeyID range [32, 33)',
        'virt/tdx: initialization failed: too few private KeyIDs available.',
      ],
      {
        tdx: { keyids: { mktme: 31, tdx: 1 } },
        expect: { tdx: 'disabled', stage: 'checks' },
      },
    ],
    [
      'v6 without x2APIC',
      [
        'tdx: TDX enabled by BIOS. TDX private KeyID range: [32, 64)',
        'tdx: Disable TDX as X2APIC is not enabled.',
      ],
      {
        kernels: ['v6-6.1'],
        tdx: { x2apic: false },
        expect: { tdx: 'disabled', stage: 'checks' },
      },
    ],
    ['nothing about TDX', [], { expect: { tdx: 'predicted' } }],
  ]
  for (const [name, texts, input] of cases) {
    const head = texts.some(text => text.startsWith('tdx:'))
      ? base.slice(1)
      : base
    const made = replayed(logOf(...head, ...texts))
    t.match(made.input, input, name)
    t.ok(bodyOf(made), name)
  }
  const other = replayed(
    logOf(...base, keyids, 'virt/tdx: module initialization failed (-12)'),
  )
  t.match(other.approximations.at(-1), /failed at pamt, and by the model/)
  t.same(other.said, { outcome: 'failed', stage: 'pamt', errno: -12 })
})

t.test('a smaller machine: the same holes, parameters that follow', async t => {
  const texts = [
    ...HEAD,
    'Command line: memmap=64M$0x1000000000 hugepages=1000 mem=120G',
    ...MAP,
    END,
  ]
  const whole = replayed(logOf(...texts))
  const small = replayed(logOf(...texts), 16 * GIB)
  t.ok(bodyOf(small).machine.memory.size <= 16 * GIB)
  const words = (made: Replay): string => bodyOf(made).words.join(' ')
  t.equal(words(whole), 'memmap=64M$0x1000000000 mem=120G hugepages=1000')
  t.match(words(small), /^memmap=64M\$\d+G mem=\d+G$/)
  t.match(small.approximations.join(), /'hugepages=1000' was left out/)
  const shape = (made: Replay): unknown =>
    predictCase(bodyOf(made), { series: MAINLINE_6_8 }).layout.tdmrs.map(
      ({ holes }) => holes.map(({ start, end }) => [start % GIB, end % GIB]),
    )
  t.same(shape(small), shape(whole))
  t.throws(() => replayed(logOf(...texts), 4 * GIB), {
    message: /takes \d+G of memory, and may have 4G: give it more/,
  })
})

t.test('logs that show less', async t => {
  const cases: [name: string, log: string, note: RegExp][] = [
    ['KeyIDs alone', KEYIDS, /shows no memory/],
    [
      'CMRs alone',
      logOf('virt/tdx: CMR: [0x100000, 0x6f800000)') + KEYIDS,
      /its CMRs were taken for one/,
    ],
    [
      'node ranges alone',
      logOf(
        '  node   0: [mem 0x0000000000001000-0x000000000009efff]',
        '  node   0: [mem 0x0000000000100000-0x000000006f7fffff]',
        '  node   1: [mem 0x0000000100000000-0x000000017fffffff]',
      ),
      /'Early memory node ranges' were taken for one/,
    ],
    [
      'a SRAT alone',
      logOf('ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x6fffffff]'),
      /memory of its SRAT/,
    ],
  ]
  for (const [name, log, note] of cases) {
    const made = replayed(log)
    t.match(made.approximations.join('\n'), note, name)
    t.ok(bodyOf(made), name)
  }
  t.throws(() => replayed(logOf('usb 1-1: hello')), {
    message: /expected a log with the memory map/,
  })
})

t.test('any map becomes a machine that can be built', async t => {
  const entry = fc.record({
    start: fc.nat(0x2000),
    size: fc.integer({ min: 1, max: 0x1000 }),
    type: fc.constantFrom('usable', 'reserved', 'ACPI data', 'type 20'),
  })
  holds(
    t,
    'any map',
    fc.property(fc.array(entry, { maxLength: 8 }), entries => {
      const hex = (mib: number): string => (mib * MIB).toString(16)
      const log = logOf(
        ...HEAD,
        ...MAP.slice(0, 3),
        ...entries.map(
          ({ start, size, type }) =>
            `BIOS-e820: [mem 0x${hex(0x700 + start)}-0x${(BigInt(`0x${hex(0x700 + start + size)}`) - 1n).toString(16)}] ${type}`,
        ),
        END,
      )
      return bodyOf(replayed(log)).machine.memory.size > 0
    }),
    500,
  )
})
