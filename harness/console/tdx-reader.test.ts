import t from 'tap'
import { KEYIDS, factsOf, line } from '../testing/consoles.ts'
import { MESSAGES, lookUp } from './catalogue.ts'

t.test('every message of the catalogue is found by its own text', async t => {
  for (const message of MESSAGES) {
    const text = message.format
      .replaceAll(/%0\d+u/g, '07')
      .replaceAll(/%#0?\d*(?:ll|l)?x/g, '0xff')
      .replaceAll(/%0?\d*(?:ll|l)?x/g, 'ff')
      .replaceAll('%s', 'word')
      .replaceAll(/%(?:ll|l)?[ud]/g, '7')
    for (const prefix of message.prefixes)
      t.equal(lookUp(prefix + text)?.message, message, message.format)
    t.equal(
      message.arguments?.length ?? 0,
      message.arguments ? (message.format.match(/%/g) ?? []).length : 0,
    )
  }
  t.equal(lookUp('virt/tdx: something new'), undefined)
})

const trigger = (text: string): string =>
  line(`tdxrig: trigger: cpus=2 ${text}`)

t.test('outcomes of TDX', async t => {
  const cases: [name: string, console: string, tdx: object][] = [
    [
      'nothing said',
      line('Linux version 6.12.0'),
      { outcome: 'absent', stage: null, errno: null },
    ],
    ['KeyIDs only', KEYIDS, { outcome: 'unfinished', keyids: [32, 64] }],
    [
      'success',
      KEYIDS +
        line('virt/tdx: 16428 KB allocated for PAMT') +
        line('virt/tdx: module initialized') +
        trigger('tdx_cpu_enable=0 tdx_enable=0'),
      { outcome: 'initialized', stage: 'done', errno: null, pamtKib: 16428 },
    ],
    [
      'too few KeyIDs',
      KEYIDS +
        line(
          'virt/tdx: initialization failed: too few private KeyIDs available.',
        ) +
        trigger('tdx_cpu_enable=-19 failed_cpu=0 tdx_enable=none'),
      { outcome: 'disabled', stage: 'checks', errno: null },
    ],
    [
      'no module',
      KEYIDS +
        line('virt/tdx: module not loaded') +
        trigger('tdx_cpu_enable=-19 failed_cpu=0 tdx_enable=none'),
      { outcome: 'failed', stage: 'sys-init', errno: -19 },
    ],
    [
      'no module, from the log alone',
      KEYIDS + line('virt/tdx: module not loaded'),
      { outcome: 'failed', stage: 'sys-init', errno: null },
    ],
    [
      'reserved areas',
      KEYIDS +
        line(
          'virt/tdx: initialization failed: TDMR [0x0, 0x80000000): reserved areas exhausted.',
        ) +
        line('virt/tdx: module initialization failed (-28)'),
      {
        outcome: 'failed',
        stage: 'reserved-areas',
        errno: -28,
        failedRange: { start: 0, end: 0x80000000 },
        message: /reserved areas exhausted/,
      },
    ],
    [
      'SYS.CONFIG',
      KEYIDS +
        line(
          'virt/tdx: SEAMCALL (0x000000000000002d) failed: 0xc0000a0200000001',
        ) +
        line('virt/tdx: module initialization failed (-5)'),
      {
        outcome: 'failed',
        stage: 'sys-config',
        errno: -5,
        failedSeamcalls: [{ leaf: 45, status: 0xc0000a0200000001n }],
      },
    ],
    [
      'PAMT allocation says nothing else',
      KEYIDS + line('virt/tdx: module initialization failed (-12)'),
      { outcome: 'failed', stage: 'pamt', errno: -12 },
    ],
    [
      'silent #UD',
      KEYIDS + trigger('tdx_cpu_enable=-13 failed_cpu=1 tdx_enable=none'),
      { outcome: 'failed', stage: 'sys-init', errno: -13 },
    ],
    [
      'the last try counts',
      KEYIDS +
        trigger('tdx_cpu_enable=-19 failed_cpu=0 tdx_enable=none') +
        trigger('tdx_cpu_enable=-5 failed_cpu=1 tdx_enable=none'),
      { outcome: 'failed', stage: 'sys-init', errno: -5 },
    ],
    [
      'a line nobody knows',
      KEYIDS + line('virt/tdx: bananas'),
      { outcome: 'unfinished', unknown: ['virt/tdx: bananas'] },
    ],
  ]
  for (const [name, console, tdx] of cases)
    t.match(factsOf(console).tdx, tdx, name)
})

t.test('the v6 series, which says less', async t => {
  const enabled = line(
    'tdx: TDX enabled by BIOS. TDX private KeyID range: [32, 64)',
  )
  const failed = line('tdx: Failed to initialize TDX module.  Shut it down.')
  const ret = (value: number): string =>
    trigger(`tdx_cpu_enable=none tdx_enable=${value}`)
  const cases: [name: string, console: string, tdx: object][] = [
    [
      'initialized',
      enabled +
        line('tdx: 2054 pages allocated for PAMT.') +
        line('tdx: TDX module initialized.') +
        ret(0),
      {
        outcome: 'initialized',
        stage: 'done',
        errno: null,
        keyids: [32, 64],
        pamtKib: 8216,
      },
    ],
    [
      'nothing says where',
      enabled + failed + ret(-14),
      { outcome: 'failed', stage: null, errno: -14 },
    ],
    [
      'a line before says where',
      enabled +
        line(
          'tdx: [0x100000000, 0x180000000) is not fully convertible memory',
        ) +
        failed +
        ret(-14),
      {
        outcome: 'failed',
        stage: 'sys-info',
        errno: -14,
        message: /not fully convertible/,
      },
    ],
    [
      'the trigger came too late',
      enabled + line('tdx: Disable TDX as X2APIC is not enabled.') + ret(-19),
      { outcome: 'disabled', stage: 'checks', errno: null },
    ],
    [
      'the list was not built',
      enabled +
        line('tdx: Build TDX-usable memory regions failed. Disable TDX.'),
      { outcome: 'disabled', stage: 'regions' },
    ],
    [
      'a CPU is offline',
      enabled +
        line(
          "tdx: Unable to initialize the TDX module when there's offline CPU(s).",
        ) +
        ret(-22),
      { outcome: 'failed', stage: 'checks', errno: -22 },
    ],
  ]
  for (const [name, console, tdx] of cases)
    t.match(factsOf(console).tdx, tdx, name)
  t.equal(factsOf(enabled + ret(-14)).guest.trigger?.cpuEnable, null)
})

t.test('a later attempt, a guest, and numbers that cannot be', async t => {
  const again =
    KEYIDS +
    line('virt/tdx: module initialization failed (-12)') +
    line('virt/tdx: module initialized')
  t.match(factsOf(again).tdx, { outcome: 'initialized', errno: null })
  const kvm = again + line('kvm_intel: Failed to initialize TDX module.')
  t.equal(factsOf(kvm).tdx.outcome, 'initialized')
  t.match(
    factsOf(line('tdx: Guest detected') + line('tdx: Attributes: DEBUG')).tdx,
    { outcome: 'absent', guest: true },
  )
  t.match(
    factsOf(
      line(
        'virt/tdx: BIOS enabled: private KeyID range [64, 99999999999999999999)',
      ) + line('virt/tdx: CMR: [0x100000, 0xffffffffffffffff)'),
    ).tdx,
    { outcome: 'unfinished', keyids: null, cmrs: null },
  )
})

t.test('who gave up first is who gave up', async t => {
  const unsupported = line('virt/tdx: TDX not supported by the host platform')
  t.match(
    factsOf(
      KEYIDS +
        line(
          'virt/tdx: initialization failed: Hibernation support is enabled',
        ) +
        unsupported,
    ).tdx,
    { outcome: 'disabled', stage: 'checks', message: /Hibernation/ },
  )
  t.match(
    factsOf(line('kvm_intel: tdx: no TDX private KeyIDs available')).tdx,
    { outcome: 'not-enabled', stage: 'detect' },
  )
})

t.test('SEAMCALLs of KVM, by name', async t => {
  const { failedSeamcalls, outcome } = factsOf(
    KEYIDS +
      line('virt/tdx: module initialized') +
      line(
        'kvm_intel: SEAMCALL TDH_PHYMEM_PAGE_RECLAIM failed: 0x8000000400000000, rcx 0x1, rdx 0x0, r8 0x2',
      ) +
      line('kvm_intel: SEAMCALL TDH_MNG_CREATE failed: 0xc000010000000001') +
      line(
        'kvm_intel: SEAMCALL TDH_MEM_PAGE_AUG failed: 0xc0000b0a00000000, entry 0x80, level_state 0x400',
      ),
  ).tdx
  t.equal(outcome, 'initialized')
  t.match(failedSeamcalls, [
    { leaf: 28, status: 0x8000000400000000n, registers: { rcx: 1n, r8: 2n } },
    { leaf: 9, registers: {} },
    { leaf: 6, registers: {} },
  ])
})

t.test('a flood of failures is bounded', async t => {
  const failure = 'virt/tdx: SEAMCALL (0x21) failed: 0x1'
  const { failedSeamcalls, outcome } = factsOf(line(failure).repeat(50_000)).tdx
  t.equal(outcome, 'failed')
  t.ok(failedSeamcalls.length <= 100)
})
