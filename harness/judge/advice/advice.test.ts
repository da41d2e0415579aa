import t from 'tap'
import { KEYIDS, factsOf, line } from '../../testing/consoles.ts'
import { type Explanation, explain } from '../explain.ts'

const explained = (...texts: string[]): Explanation =>
  explain(factsOf(texts.map(text => line(text)).join('')))

const CMDLINE = 'Command line: ro nohibernate kvm_intel.tdx=1'
const KEYIDS_TEXT = 'virt/tdx: BIOS enabled: private KeyID range [64, 128)'
const SYS_INIT = (status: string): string =>
  `virt/tdx: SEAMCALL (0x0000000000000021) failed: 0x${status}`

t.test('known cases: the cause, and what helps', async t => {
  const keyids = KEYIDS_TEXT
  const cases: [texts: string[], cause: RegExp, advice: RegExp][] = [
    [
      [keyids, SYS_INIT('c000092100000122')],
      /MSR 0x122 \(IA32_TSX_CTRL\) has another value/,
      /tsx=on/,
    ],
    [
      [`${CMDLINE} tsx=off`, keyids, SYS_INIT('c000092100000122')],
      /TSX_CTRL/,
      /boot without 'tsx=off'/,
    ],
    [[keyids, SYS_INIT('c000090000000000')], /CPUID/, /BIOS options/],
    [
      [
        keyids,
        'virt/tdx: SEAMCALL (0x0000000000000022) failed: 0xc000050500000000',
        'virt/tdx: module initialization failed (-5)',
      ],
      /1\.0 has no TDH\.SYS\.RD/,
      /update the TDX module to 1\.5/,
    ],
    [
      [keyids, 'virt/tdx: module not loaded'],
      /no TDX module in the memory/,
      /SEAM loader/,
    ],
    [
      [
        keyids,
        'virt/tdx: SEAMCALL (0x000000000000002d) failed: 0xc0000a1100000103',
      ],
      /TDMR 3, PAMT of 2M pages lies in memory that is not convertible/,
      /hot-added/,
    ],
    [
      [`${CMDLINE} maxcpus=4`, keyids].concat(
        'virt/tdx: SEAMCALL (0x000000000000002d) failed: 0xc000050c00000000',
      ),
      /not every CPU/,
      /boot without 'maxcpus=4'/,
    ],
    [
      [
        keyids,
        'virt/tdx: initialization failed: Hibernation support is enabled',
      ],
      /exclude each other/,
      /nohibernate/,
    ],
    [
      [CMDLINE, keyids],
      /nothing followed/,
      /SEAM loader' is enabled and reports no error/,
    ],
    [
      ['Command line: kvm_intel.tdz=1', keyids],
      /nothing followed/,
      /'kvm_intel.tdz=1' on the command line is not known: 'kvm_intel.tdx'/,
    ],
    [['Command line: ro', keyids], /nothing followed/, /kvm_intel.tdx=1/],
    [
      ['Linux version 6.12.4 (x)', CMDLINE, keyids],
      /nothing followed/,
      /kernel.org has no caller in its tree that initialises TDX/,
    ],
    [
      ['Linux version 7.3.4 (x)', CMDLINE, keyids],
      /initialises TDX as it boots, and says nothing/,
      /enable VMX/,
    ],
    [
      ['Linux version 7.3.4 (x)', 'Command line: clearcpuid=vmx', keyids],
      /initialises TDX as it boots/,
      /without the 'clearcpuid='/,
    ],
    [
      ['virt/tdx: TDX not supported by the host platform'],
      /no error there/,
      /TME-MT/,
    ],
    [['tdx: not enabled by BIOS.'], /SEAM/, /update the BIOS/],
    [['tdx: Guest detected'], /runs in a TD/, /log of the host/],
    [
      ['tdx: SEAMCALL failed: CPU 162 is not in VMX operation.'],
      /need VMX/,
      /VT-x/,
    ],
    [['usb 1-1: hello'], /no line about TDX/, /what would be needed/],
    [
      ['Linux version 6.12.1 (x)', CMDLINE],
      /does not reach the place/,
      /what would be needed/,
    ],
    [
      ['Linux version 6.12.1 (x)', CMDLINE, 'smp: Brought up 2 nodes, 8 CPUs'],
      /gives it no KeyIDs/,
      /CONFIG_INTEL_TDX_HOST/,
    ],
    [
      [keyids, 'virt/tdx: SEAMCALL (0x0000000000000021) failed: 0xdead'],
      /the module refused: status 0xdead/,
      /ABI specification/,
    ],
  ]
  for (const [texts, cause, advice] of cases) {
    const found = explained(...texts)
    t.match(found.cause, cause, texts.join('; '))
    t.match(found.advice.join('\n'), advice, texts.join('; '))
  }
})

t.test('parameters that are there, or only look like others', async t => {
  const advised = (words: string): string =>
    explained(`Command line: ${words}`, KEYIDS_TEXT).advice.join('\n')
  for (const on of ['=1', '=y', '=on', '', '=0 kvm_intel.tdx=1'])
    t.notMatch(advised(`kvm_intel.tdx${on}`), /kvm_intel\.tdx=1/, on)
  for (const off of ['=0', '=1 kvm_intel.tdx=off'])
    t.match(advised(`kvm_intel.tdx${off}`), /leaves TDX off/, off)
  for (const others of [
    'kvm_intel.ept=1 kvm_intel.sgx=1',
    'ro -- kvm_intel.tdx=1',
  ])
    t.match(advised(others), /^boot with 'kvm_intel\.tdx=1'/m, others)
  t.match(advised('kvm.tdx=1'), /'kvm_intel\.tdx' may be meant/)
})

t.test('success needs no advice, but what fails later is named', async t => {
  const initialized = [KEYIDS, line('virt/tdx: module initialized')].join('')
  t.match(explain(factsOf(initialized)), { cause: null, advice: [] })
  const later = explain(
    factsOf(
      initialized +
        line(
          'SEAMCALL (0x000000000000001c) failed: 0xc000030000000001 RCX 0x0 RDX 0x0 R8 0x0 R9 0x0 R10 0x0 R11 0x0',
        ),
    ),
  )
  t.equal(later.facts.tdx.outcome, 'initialized')
  t.match(later.advice, [/TDH.PHYMEM.PAGE.RECLAIM failed, which is no part/])
})

t.test('parameters a boot loader ate, or the kernel does not take', async t => {
  const { advice } = explained('Command line: memmap=64M0x140000000 memmap=1G@')
  t.match(
    advice.join('\n'),
    /'memmap=64M0x140000000' cuts off all memory from 0x4000000 on: .*it was 'memmap=64M\$0x140000000'/,
  )
  t.match(
    advice.join('\n'),
    /'1G@' on the command line: expected an address after '@'/,
  )
})

/** 16 usable ranges below 2 GiB: one hole more than there are areas. */
const MAP = [
  'BIOS-provided physical RAM map:',
  'BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable',
  'BIOS-e820: [mem 0x0000000000100000-0x0000000040000fff] usable',
  ...Array.from({ length: 15 }, (_, i) => {
    const start = 0x40002000 + i * 0x10000
    const end = start + (i === 7 ? 0xfff : 0x3fff)
    return `BIOS-e820: [mem 0x${start.toString(16)}-0x${end.toString(16)}] usable`
  }),
  'BIOS-e820: [mem 0x0000000100000000-0x000000047fffffff] usable',
]

t.test('the cheapest memmap= that helps is found on the model', async t => {
  const { prediction, advice, cause } = explained(
    'Command line: nohibernate',
    ...MAP,
    'x86/PAT: Configuration',
    'virt/tdx: BIOS enabled: private KeyID range [64, 128)',
    'virt/tdx: initialization failed: TDMR [0x0, 0x80000000): reserved areas exhausted.',
    'virt/tdx: module initialization failed (-28)',
  )
  t.equal(prediction?.outcome?.stage, 'reserved-areas')
  t.match(cause, /TDMR \[0x0, 0x80000000\) has 17 holes/)
  t.match(
    advice[0],
    /initialises with memmap=4K\$0x40072000 on the command line, which gives up 4K of memory between the holes; none of the reserved areas are free then/,
  )
})

t.test('a machine check of private memory', async t => {
  const { advice } = explained(
    KEYIDS_TEXT,
    'virt/tdx: module initialized',
    'mce: [Hardware Error]: Machine check: TDX private memory error. Possible kernel bug.',
    'Kernel panic - not syncing: Fatal machine check',
  )
  t.match(advice.join(), /wrote a part of a cache line of private memory/)
  t.notMatch(advice.join(), /something else/)
})
