import fc from 'fast-check'
import t from 'tap'
import { ConsoleReader } from '../console/reader.ts'
import { holds } from '../testing/property.ts'
import { explain } from './explain.ts'

/** Made in the form of what tools print; numbers and names are ours. */

const read = (text: string) => {
  const reader = new ConsoleReader({ pasted: true })
  reader.push(Buffer.from(text))
  reader.end()
  return explain(reader.facts())
}

/** A report as Canonical's system-report.sh writes it. */
const report = (msrs: readonly string[], log = ''): string =>
  [
    '### Kernel version',
    '```',
    '6.8.0-1099-intel #99-Ubuntu SMP PREEMPT_DYNAMIC Thu Jan  1 00:00:00 UTC 2026 x86_64 x86_64 GNU/Linux',
    '```',
    '### TDX kernel logs',
    '```',
    log,
    '```',
    '### Model specific registers (MSRs)',
    '```',
    ...msrs,
    '```',
    '### CPU details',
    '```',
    ' INTEL(R) XEON(R) GOLD 6599Z',
    '```',
    '### QEMU package details',
    '```',
    'Status: Installed',
    'Package: qemu-system-x86',
    'Version: 1:8.2.2+ds-0ubuntu9+tdx1.0',
    '```',
  ].join('\n')

const GOOD = [
  'MK_TME_ENABLED bit: 1 (expected value: 1)',
  'SEAM_RR bit: 1 (expected value: 1)',
  'NUM_TDX_PRIV_KEYS: 40',
  'SGX_AND_MCHECK_STATUS: 0 (expected value: 0)',
]

t.test('the firmware has done its part, or has not', async t => {
  const ready = read(report(GOOD))
  t.match(
    ready.platform.map(({ isGood }) => isGood),
    [true, true, true, true],
  )
  t.match(ready.platform[1]?.text, /^64 KeyIDs/)
  t.match(ready.cause, /the firmware has done its part, so it is the kernel/)
  t.equal(ready.facts.kernel, '6.8.0-1099-intel')
  t.match(ready.advice.join('\n'), /INTEL_TDX_HOST/)
  t.notMatch(ready.advice.join('\n'), /BIOS/)

  for (const [line, cause] of [
    ['SEAM_RR bit: 0 (expected value: 1)', /no memory is set aside/],
    ['NUM_TDX_PRIV_KEYS: 0', /no KeyIDs are for TDX/],
    ['NUM_TDX_PRIV_KEYS: 1', /one KeyID is for TDX/],
    ['MK_TME_ENABLED bit: 0 (expected value: 1)', /memory encryption is off/],
    ['SGX_AND_MCHECK_STATUS: 1861 (expected value: 0)', /MCHECK.* is 0x1861/],
  ] as const) {
    const key = /^\w+/.exec(line)![0]
    const lines = GOOD.map(one => (one.startsWith(key) ? line : one))
    const { cause: found } = read(report(lines))
    t.match(found, /the firmware has not done its part/)
    t.match(found, cause)
  }
  // What the kernel says counts for more.
  const log = '[    9.000000] virt/tdx: module initialized'
  t.equal(read(report(GOOD, log)).facts.tdx.outcome, 'initialized')
  t.equal(read(report(GOOD, log)).cause, null)
})

t.test('rdmsr in a shell', async t => {
  for (const [text, expected] of [
    [
      '$ sudo rdmsr 0x982\n100000003',
      [{ msr: 0x982, high: 63, low: 0, value: 0x100000003n }],
    ],
    [
      '# rdmsr -f 63:32 0x87\n20',
      [{ msr: 0x87, high: 63, low: 32, value: 0x20n }],
    ],
    [
      '# rdmsr 0x87 -f 63:32\n20',
      [{ msr: 0x87, high: 63, low: 32, value: 0x20n }],
    ],
    [
      '# rdmsr -p 3 -x 0x1401\n0xfffff800',
      [{ msr: 0x1401, value: 0xfffff800n }],
    ],
    ['# rdmsr -d 0xa0\n10', [{ msr: 0xa0, value: 10n }]],
    ['rdmsr: CPU 0 cannot read MSR 0x00001401', [{ msr: 0x1401, value: null }]],
    ['# rdmsr 0x87\n```\n40', [{ value: 0x40n }]],
    ['# rdmsr 0x87\n# rdmsr 0x982\n3', [{ msr: 0x982, value: 3n }]],
    ['# rdmsr 0x87\n$ uname -r\n6', []],
  ] as const)
    t.match(read(text).facts.platform?.msrs ?? [], expected, text)
  t.match(read('# rdmsr 0x982\n100000003').platform, [{ isGood: true }])
  t.match(read('# rdmsr 0x87\n100000001f').platform, [
    { isGood: true, text: /^16 KeyIDs/ },
  ])
  t.match(
    read('rdmsr: CPU 0 cannot read MSR 0x00001401').cause,
    /no SEAM range/,
  )
})

t.test('CPU, hypervisor and memory of other tools', async t => {
  const lscpu =
    'Vendor ID:  GenuineIntel\n  Model name:  Intel(R) Xeon(R) Gold 5600\n    CPU family:  6\n    Model:  207\n    Stepping:  2\nHypervisor vendor:  KVM\n'
  t.match(read(lscpu).facts, {
    cpu: { family: 6, model: 207, stepping: 2 },
    hypervisor: { name: 'KVM' },
  })
  t.match(read(lscpu).cause, /virtual machine \(KVM\)/)
  t.match(read(lscpu.replace(/Hyper.*\n/, '')), {
    cause: /what tools say of a machine/,
    advice: [/the CPU is Emerald Rapids/],
  })
  const amd =
    'processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9999\nstepping\t: 1\nflags\t\t: fpu tme\n'
  t.match(read(amd).cause, /is AMD's/)
  const memmap = [
    ['0x0', '0x9fbff', 'System RAM'],
    ['0x9fc00', '0x9ffff', 'Reserved'],
    ['0x100000', '0x7fffffff', 'System RAM'],
    ['0x100000000', '0x27fffffff', 'System RAM'],
  ]
    .map(([start, end, type], i) =>
      [
        `/sys/firmware/memmap/${i}/end:${end}`,
        `/sys/firmware/memmap/${i}/start:${start}`,
        `/sys/firmware/memmap/${i}/type:${type}`,
      ].join('\n'),
    )
    .join('\n')
  t.match(read(memmap).facts.firmwareMap, [
    { start: 0, end: 0x9fc00, type: 1 },
    { type: 2 },
    { start: 0x100000, end: 0x80000000 },
    { start: 0x100000000, end: 0x280000000 },
  ])
  t.match(read(memmap).prediction, { layout: Object })
  const iomem =
    '00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n00100000-7fffffff : System RAM\n  01000000-01ffffff : Kernel code\n100000000-27fffffff : System RAM\n'
  t.match(read(iomem).facts.userMap, [
    { type: 2 },
    { type: 1 },
    { start: 0x100000, end: 0x80000000 },
    { end: 0x280000000 },
  ])
  t.match(
    read(iomem.replaceAll(/^\s*\w+-\w+/gm, '00000000-00000000')).platform,
    [{ text: /read it as root/ }],
  )
})

t.test('QEMU does not start a TD', async t => {
  const log = '[    9.000000] virt/tdx: module initialized\n'
  for (const [said, advice] of [
    [
      'qemu-system-x86_64: -accel kvm: vm-type tdx not supported by KVM',
      /parameters\/tdx.*must say Y/,
    ],
    [
      "qemu-system-x86_64: -object tdx-guest,id=t: Parameter 'qom-type' does not accept value 'tdx-guest'",
      /QEMU 10\.1/,
    ],
    [
      'error: unsupported configuration: INTEL TDX launch security is not supported with this QEMU binary',
      /QEMU 10\.1/,
    ],
    [
      'qemu-system-x86_64: KVM_TDX_INIT_VM failed: Invalid argument',
      /same interface/,
    ],
  ] as const)
    t.match(read(`${log}${said}\n`).advice.join('\n'), advice, said)
  t.match(
    read(
      'qemu-system-x86_64: -accel kvm: failed to initialize kvm: No such device\n',
    ),
    {
      cause: /what tools say of a machine/,
      advice: [/the log/, /finds no KVM/],
    },
  )
  t.match(
    read(
      'virt/tdx: not enabled by BIOS\nqemu: vm-type TDX not supported by KVM\n',
    ).advice.join('\n'),
    /that follows/,
  )
})

t.test('no text of tools breaks it', async t => {
  const part = fc.constantFrom(
    'rdmsr 0x87',
    'rdmsr -f 99:0 0x982',
    'rdmsr -f 0:63 0x87',
    'ffffffffffffffff',
    '99999999999999999999',
    '/sys/firmware/memmap/1/start:zz',
    '/sys/firmware/memmap/1/end:0xffffffffffffffff',
    '/sys/firmware/memmap/1/type:System RAM',
    '/sys/firmware/memmap/1/start:0x0',
    'ffffffff-00000000 : System RAM',
    '0000000000000000-ffffffffffffffff : System RAM',
    'Model:  9999',
    'CPU family:  6',
    'Flags:  tdx_host_platform',
    'NUM_TDX_PRIV_KEYS: ffffffffffffffff',
  )
  holds(
    t,
    'read and explained',
    fc.property(
      fc.array(fc.oneof(part, fc.string({ maxLength: 20 })), { maxLength: 12 }),
      lines => {
        read(lines.join('\n'))
      },
    ),
    2_000,
  )
})
