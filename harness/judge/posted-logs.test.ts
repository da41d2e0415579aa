import t from 'tap'
import {
  BEHIND,
  CMDLINE,
  HEADLINE,
  HIGH,
  LOW,
  MAP,
  at,
  boots,
  first,
  only,
  regionsOf,
  said,
  version,
} from '../testing/posted.ts'
import type { Explanation } from './explain.ts'

/**
 * Logs as people post them, reduced to what they show: each kind was judged
 * wrongly once.
 */

const G = 2 ** 30
const M = 2 ** 20

t.test('what a kernel says before its version is of the same boot', async t => {
  for (const early of [
    'microcode: microcode updated early to revision 0x2b000590, date = 2024-03-01',
    'microcode: updated early: 0x2b000461 -> 0x2b000590, date = 2023-12-07',
    'Initializing cgroup subsys cpuset',
  ]) {
    const { facts } = only(
      ...first(early, version('6.5.0'), CMDLINE, ...MAP),
      at(4, 'virt/tdx: module initialized'),
    )
    t.equal(facts.tdx.outcome, 'initialized', early)
    t.equal(facts.firstLine, 1)
  }
  const two = boots(
    ...first(version('6.5.0'), CMDLINE, ...MAP),
    at(4, 'virt/tdx: module initialized'),
    at(90, 'reboot: Restarting system'),
    ...first(
      'microcode: updated early: 0x1 -> 0x2, date = 2023-12-07',
      version('6.5.1'),
      CMDLINE,
    ),
    at(4, 'virt/tdx: module not loaded'),
  )
  t.match(two, [
    { facts: { kernel: '6.5.0', tdx: { outcome: 'initialized' } } },
    { facts: { kernel: '6.5.1', firstLine: 10, tdx: { outcome: 'failed' } } },
  ])
})

t.test('a TD is a guest, whichever of its lines is there', async t => {
  for (const line of [
    at(0, 'tdx: Guest detected'),
    at(0.1, 'process: using TDX aware idle routine'),
    at(0.4, 'Memory Encryption Features active: Intel TDX'),
    at(2, 'systemd[1]: Detected confidential virtualization tdx.'),
  ]) {
    const explanation = only(
      ...(line.startsWith(at(0, '')) ? [line] : []),
      ...first(version('6.6.0'), CMDLINE, ...MAP),
      line,
    )
    t.match(explanation.cause, /runs in a TD/, line)
    t.equal(explanation.prediction, null)
    t.notMatch(said(explanation), /BIOS/)
  }
})

t.test('entries that a filter has left are no map', async t => {
  const lone =
    'BIOS-e820: [mem 0x0000000180000000-0x00000001ffffffff] soft reserved'
  const nodes = [
    at(0.07, 'ACPI: SRAT: Node 2 PXM 2 [mem 0x180000000-0x1ffffffff]'),
    at(0.08, 'Early memory node ranges'),
    at(0.08, '  node   0: [mem 0x0000000000001000-0x000000000009efff]'),
    at(0.09, '  node   0: [mem 0x0000000000100000-0x000000007fffffff]'),
    at(0.09, '  node   1: [mem 0x0000000100000000-0x000000017fffffff]'),
    at(0.1, 'Initmem setup node 2 as memoryless'),
  ]
  const explanation = only(at(0, CMDLINE), at(0, lone), ...nodes)
  t.same(regionsOf(explanation), [
    [M, 2 * G, 0],
    [4 * G, 6 * G, 1],
  ])
  t.equal(explanation.prediction?.layout.fatal, undefined)
  t.match(said(explanation), /soft reserved .*dax and kmem/)
  t.match(said(explanation), /node 2 has no memory/)
  t.equal(only(at(0, CMDLINE), at(0, lone), at(0, lone)).prediction, null)
})

t.test('a map that was changed later is the one that counts', async t => {
  const modified = [
    'modified physical RAM map:',
    'modified: [mem 0x0000000000000000-0x0000000000000fff] reserved',
    'modified: [mem 0x0000000000001000-0x000000000009ffff] usable',
    'modified: [mem 0x0000000000100000-0x00000000bfffffff] usable',
    'modified: [mem 0x0000000100000000-0x000000013fffffff] usable',
    'modified: [mem 0x0000000140000000-0x000000043fffffff] reserved',
    'last_pfn = 0x140000 max_arch_pfn = 0x400000000',
  ]
  const trimmed = only(
    ...first(version('6.4.0'), CMDLINE, ...MAP),
    at(
      0.1,
      "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing 12288MB of RAM.",
    ),
    ...modified.map(text => at(0.2, text)),
  )
  t.same(regionsOf(trimmed), [
    [M, 3 * G, 0],
    [4 * G, 5 * G, 0],
  ])
  t.match(
    said(trimmed),
    /MTRRs do not cover \[0x140000000, 0x440000000\).*12288 MiB.*disable_mtrr_trim/s,
  )
  // Twice: the last one counts.
  const again = only(
    ...first(version('6.4.0'), CMDLINE, ...MAP),
    ...modified.map(text => at(0.2, text)),
    at(0.3, 'modified physical RAM map:'),
    ...modified.slice(1, 4).map(text => at(0.3, text)),
  )
  t.same(regionsOf(again), [[M, 3 * G, 0]])
})

t.test('maps of other kernels and of Xen', async t => {
  const old = only(
    ...first(
      version('2.6.39'),
      HEADLINE,
      ' BIOS-e820: 0000000000000000 - 00000000000a0000 (usable)',
      ' BIOS-e820: 0000000000100000 - 00000000c0000000 (usable)',
      BEHIND,
    ),
  )
  t.same(regionsOf(old), [[M, 3 * G, 0]])
  const prefixed = only(
    ...first(version('4.4.0'), `e820: ${HEADLINE}`, LOW, HIGH, BEHIND),
  )
  t.ok(prefixed.facts.whole.map)
  const xen = only(
    ...first(
      version('6.1.0'),
      HEADLINE,
      LOW.replace('BIOS-e820', 'Xen'),
      HIGH.replace('BIOS-e820', 'Xen'),
      BEHIND,
    ),
  )
  t.same(regionsOf(xen), [[M, 3 * G, 0]])
  t.match(xen.cause, /runs on Xen/)
  t.notMatch(said(xen), /BIOS enable/)
})

t.test('PAMTs never lie in ZONE_MOVABLE', async t => {
  const explanation = only(
    ...first(version('6.12.10'), ...MAP),
    at(0.1, 'Movable zone start for each node'),
    at(0.1, '  Node 1: 0x0000000200000000'),
    at(0.1, 'Early memory node ranges'),
    at(0.1, '  node   0: [mem 0x0000000000001000-0x000000000009ffff]'),
    at(0.1, '  node   0: [mem 0x0000000000100000-0x00000000bfffffff]'),
    at(0.1, '  node   0: [mem 0x0000000100000000-0x00000001ffffffff]'),
    at(0.1, '  node   1: [mem 0x0000000200000000-0x000000043fffffff]'),
    at(0.2, 'Initmem setup node 0 [mem 0x0000000000001000-0x00000001ffffffff]'),
  )
  t.match(
    explanation.prediction?.layout.tdmrs.map(
      ({ start, pamtNodes, pamtAreas }) => [
        start,
        pamtNodes,
        pamtAreas.min,
        pamtAreas.max,
      ],
    ),
    [
      [0, [0], 0, 1],
      [4 * G, [0], 2, 3],
      [8 * G, [0], 0, 0],
    ],
  )
})

t.test('a map after the command line alone, in a reply', async t => {
  const explanation = only(
    ...first(
      'user: [mem 0x0000000000000000-0x000000000009ffff] usable',
      'user: [mem 0x0000000000100000-0x000000007fffffff] usable',
      'user: [mem 0x0000000100000000-0x00000001ffffffff] usable',
      'user: [mem 0x0000000200000000-0x00000005ffffffff] persistent (type 12)',
    ).map(line => `> ${line}`),
  )
  t.same(regionsOf(explanation), [
    [M, 2 * G, 0],
    [4 * G, 8 * G, 0],
  ])
  t.match(
    said(explanation),
    /\[0x200000000, 0x600000000\) \(16G\) is persistent/,
  )
})

t.test('old wordings, and what only happens to TDs', async t => {
  t.match(
    only(
      ...first(version('5.19.0-mvp')),
      at(16, 'tdx: Cannot enable TDX on TDX disabled platform'),
    ).facts.tdx,
    { outcome: 'not-enabled', stage: 'detect' },
  )
  const late = only(
    at(
      896.1,
      'kvm_intel: kvm [1]: TD exit 0xe000060400000000, 0 hkid 0x41 hkid pa 0x8200000000000',
    ),
    at(
      896.7,
      'SEAMCALL[TDH_MEM_RD(12)] failed: Unknown SEAMCALL status code(0xe000060400000000)',
    ),
  )
  t.equal(late.facts.tdx.outcome, 'unfinished')
  t.match(late.facts.tdx.failedSeamcalls, [{ leaf: 12 }])
  t.match(late.cause, /calls for TDs/)
  t.notMatch(said(late), /BIOS/)
})

t.test('a machine that cannot have TDX is not sent to its BIOS', async t => {
  const cases: readonly [line: string, cause: RegExp][] = [
    [
      'smpboot: CPU0: AMD EPYC 9654 96-Core Processor (family: 0x19, model: 0x11, stepping: 0x1)',
      /AMD's.*SEV-SNP/,
    ],
    [
      'smpboot: CPU0: Intel(R) Xeon(R) CPU X3430 @ 2.40GHz (family: 0x6, model: 0x1e, stepping: 0x5)',
      /X3430.* has no TDX/,
    ],
    [
      'smpboot: CPU0: Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz (fam: 06, model: 2d, stepping: 07)',
      /E5-2670.* has no TDX/,
    ],
    ['Hypervisor detected: KVM', /virtual machine \(KVM\) that is no TD/],
  ]
  for (const [line, cause] of cases) {
    const explanation = only(
      ...first(version('6.8.0'), CMDLINE, ...MAP),
      at(0.5, line),
    )
    t.match(explanation.cause, cause)
    t.notMatch(explanation.advice.join(' '), /BIOS enable|CONFIG_/)
    t.match(said(explanation), /by the model +of a machine with TDX/)
  }
  const capable = only(
    ...first(version('6.8.0'), CMDLINE, ...MAP),
    at(
      0.5,
      'smpboot: CPU0: Intel(R) Xeon(R) Platinum 8592+ (family: 0x6, model: 0xcf, stepping: 0x2)',
    ),
  )
  t.match(said(capable), /Emerald Rapids.*BIOS enable/s)
})

t.test('KVM refuses after the module was initialised', async t => {
  const begun = (cmdline: string, ...late: readonly string[]): Explanation =>
    only(
      ...first(version('7.3.4'), `Command line: ${cmdline}`),
      at(0.4, 'virt/tdx: BIOS enabled: private KeyID range [32, 64)'),
      at(1.9, 'virt/tdx: TDX-Module initialized'),
      ...late.map(text => at(9, text)),
    )
  const refused = begun(
    'ro kvm_intel.tdx=1 kvm_intel.enable_apicv=0',
    'kvm_intel: APICv is required for TDX',
  )
  t.equal(refused.facts.tdx.outcome, 'initialized')
  t.match(refused.advice, [
    /KVM leaves TDX off.*'kvm_intel: APICv is required for TDX'; 'kvm_intel.enable_apicv=0' switches it off/,
  ])
  t.match(begun('ro nohibernate').advice, [/only with 'kvm_intel.tdx=1'/])
  t.same(begun('ro kvm_intel.tdx=1').advice, [])
  t.match(
    begun(
      'ro kvm_intel.tdx=1',
      'kvm_intel: All packages need to have online CPU to create TD. Online CPU and retry.',
    ).advice,
    [/a package has no CPU that is online/],
  )
  t.match(
    begun(
      'ro kvm_intel.tdx=1',
      'virt/tdx: TDH.SYS.DISABLE failed: 0x8000000000000000',
    ).advice,
    [/could not be shut down before kexec/],
  )
})

t.test('the series of a kernel that says nothing of TDX', async t => {
  const noted = (release: string): string =>
    said(only(...first(version(release), CMDLINE, ...MAP)))
  t.match(
    noted('6.12.10'),
    /outcome is predicted for Linux 6\.8 to 6\.15, with/,
  )
  t.match(noted('7.2.1'), /outcome is predicted for Linux 7\.1 to 7\.3, with/)
  t.match(
    noted('6.18.2'),
    /6\.18\.2 is of no series .*predicted for Linux 6\.8 to 6\.15, .*may differ/,
  )
  const late = only(at(1, 'virt/tdx: TDX-Module initialized'))
  t.match(late.recognised, { series: { title: 'Linux 7.1 to 7.3' } })
})
