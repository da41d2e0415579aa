import t from 'tap'
import type { Seen } from '../testing/records.ts'
import {
  KERNEL,
  NODES,
  V6,
  judgeBoot,
  judged,
  replace,
} from '../testing/judged.ts'

t.test('a boot that is as predicted passes', async t => {
  t.same(judged(NODES), { verdict: 'pass', text: '' })
  t.same(judged({ machine: { memory: '3G' } }), { verdict: 'pass', text: '' })
})

t.test('without proof that the parameters took effect: invalid', async t => {
  const cases: [
    name: string,
    edit: (lines: string[]) => string[],
    reason: RegExp,
  ][] = [
    [
      'the $ was eaten',
      replace('memmap=64M$0x140000000', 'memmap=64M'),
      /^cmdline: .*expected memmap=64M\$0x140000000, found memmap=64M$/m,
    ],
    [
      'no command line',
      replace(/Command line: .*\n/, ''),
      /^cmdline: the kernel printed no command line/m,
    ],
    [
      'another firmware map',
      replace('0x100000000-0x17fffffff', '0x100000000-0x16fffffff'),
      /^firmware-map: .*entry 7 differs: expected \[0x100000000, 0x180000000\) usable/m,
    ],
    [
      'no user map',
      lines => lines.filter(line => !line.startsWith('user')),
      /^user-map: .*printed no user-defined/m,
    ],
    [
      'another user map',
      replace('user: [mem 0x144000000', 'user: [mem 0x145000000'),
      /^user-map: .*found \[0x145000000/m,
    ],
    [
      'another SRAT',
      replace('SRAT: Node 1 PXM 1', 'SRAT: Node 2 PXM 2'),
      /^srat: .*node 2$/m,
    ],
    [
      'the SRAT was dropped',
      replace(
        'SRAT: Node 1',
        'x: No NUMA\nNo NUMA configuration found\nACPI: SRAT: Node 1',
      ),
      /^srat: how the kernel found its nodes: expected from the SRAT, found No NUMA/m,
    ],
  ]
  for (const [name, edit, reason] of cases) {
    const { verdict, text } = judged(NODES, {}, edit)
    t.equal(verdict, 'invalid', name)
    t.match(text, reason, name)
  }
})

t.test(
  'a kernel that builds something else fails, with the first difference',
  async t => {
    const regions =
      (edit: (list: NonNullable<Seen['regions']>) => Seen['regions']) =>
      (record: Seen) => ({ regions: edit(record.regions!) })
    const tdmrs =
      (edit: (list: NonNullable<Seen['tdmrs']>) => Seen['tdmrs']) =>
      (record: Seen) => ({ tdmrs: edit(record.tdmrs!) })
    const cases: [
      name: string,
      change: Partial<Seen> | ((record: Seen) => Partial<Seen>),
      reason: RegExp,
      editConsole?: (lines: string[]) => string[],
    ][] = [
      [
        'first MiB kept',
        regions(([first, ...rest]) => [{ ...first!, start: 0 }, ...rest]),
        /^regions-memory: .*region 0 differs: expected \[0x100000, 0x7ffe0000\) node 0, found \[0x0, 0x7ffe0000\) node 0/m,
      ],
      [
        'node forgotten',
        regions(list => list.map(range => ({ ...range, node: 0 }))),
        /region 2 differs: expected .* node 1, found .* node 0/,
      ],
      [
        'a region lost',
        regions(list => list.slice(1)),
        /region 0 differs \(4 expected, 3 found\)/,
      ],
      [
        'list empty',
        { regions: [] },
        /^regions-memory: .*tdx_memlist in the kernel's memory is empty/m,
      ],
      ['no TDMRs', { tdmrs: null }, /^tdmrs: .*never called TDH.SYS.CONFIG/m],
      [
        'TDMR too small',
        tdmrs(([first, ...rest]) => [
          { ...first!, size: first!.size - (1n << 30n) },
          ...rest,
        ]),
        /^tdmrs: .*TDMR 0 differs: expected \[0x0, 0x80000000\)/m,
      ],
      [
        'a hole not reserved',
        tdmrs(([first, ...rest]) => [
          { ...first!, reserved: first!.reserved.slice(1) },
          ...rest,
        ]),
        /^reserved-areas: reserved areas of TDMR 0: area 0 differs \(2 expected, 1 found\)/m,
      ],
      [
        'a status the module never gave',
        {},
        /^seamcalls: .*TDH.SYS.INIT failed with 0x1 \(console line \d+\)/m,
        lines => [
          ...lines,
          'virt/tdx: SEAMCALL (0x0000000000000021) failed: 0x0000000000000001',
        ],
      ],
    ]
    for (const [name, change, reason, editConsole] of cases) {
      const { verdict, text } = judged(NODES, change, editConsole)
      t.equal(verdict, 'fail', name)
      t.match(text, reason, name)
    }
  },
)

t.test('what the kernel prints must agree as well', async t => {
  const cases: [
    name: string,
    edit: (lines: string[]) => string[],
    reason: RegExp,
  ][] = [
    [
      'PAMT size',
      replace(/\d+ KB allocated/, '1 KB allocated'),
      /^pamt: .*printed 1 KiB/m,
    ],
    [
      'no PAMT size',
      lines => lines.filter(line => !line.includes('PAMT')),
      /^pamt: .*printed no size/m,
    ],
    [
      'KeyIDs',
      replace('[32, 64)', '[32, 63)'),
      /^keyids: .*expected \[32, 64\), .*\[32, 63\)/m,
    ],
    [
      'node ranges',
      replace('node   1: [mem 0x144000000', 'node   1: [mem 0x144001000'),
      /^node-ranges: /m,
    ],
    [
      'printed regions',
      replace(
        'virt/tdx: module',
        'tdx: TDX memory region: [mem 0x0-0xfff] node 0\nvirt/tdx: module',
      ),
      /^regions-printed: .*found \[0x0, 0x1000\) node 0/m,
    ],
    [
      'a warning',
      replace(
        'virt/tdx: module',
        'WARNING: CPU: 0 at tdx.c:1\nvirt/tdx: module',
      ),
      /^incident: the kernel reports a warning/m,
    ],
    [
      'an outcome',
      replace('module initialized', 'module initialization failed (-12)'),
      /^outcome: TDX: expected initialized, found failed at pamt \(-12\).*the model predicts initialized/m,
    ],
  ]
  for (const [name, edit, reason] of cases) {
    const { verdict, text } = judged(NODES, {}, edit)
    t.equal(verdict, 'fail', name)
    t.match(text, reason, name)
  }
})

t.test('a machine without debugger and module model', async t => {
  const boot = { without: ['memory', 'module'] } as const
  const { verdict, reasons, witnesses, unobserved } = judgeBoot(NODES, boot)
  t.equal(verdict, 'pass')
  t.same(reasons, [], 'what was not seen is no reason to fail')
  t.same(witnesses, ['console', 'steps'])
  t.same(
    unobserved.map(({ check }) => check),
    [
      'interposition',
      'faults',
      'regions-memory',
      'regions',
      'tdmrs',
      'seamcalls',
      'sequence',
      'shutdown',
    ],
  )
  for (const { check, missing } of unobserved)
    t.ok(missing.length > 0, `${check} says what is missing`)
  const wrong = judgeBoot(NODES, {
    ...boot,
    editConsole: replace(/\d+ KB allocated/, '1 KB allocated'),
  })
  t.equal(wrong.verdict, 'fail', 'what was seen is judged all the same')
  t.match(
    judgeBoot(
      {
        tdx: { faults: [{ leaf: 'SYS.CONFIG', status: '0x8000020000000001' }] },
        expect: { tdx: 'failed', stage: 'sys-config' },
      },
      {
        kernel: V6,
        without: ['memory', 'module', 'steps'],
        editConsole: lines => lines.filter(l => !l.startsWith('tdxrig:')),
      },
    ).unobserved.filter(({ check }) => /outcome|cmrs/.test(check)),
    [
      { check: 'outcome-stage', missing: ['module'] },
      { check: 'outcome-errno', missing: ['steps'] },
    ],
    'a stage and an errno that nobody saw are named',
  )
  t.match(
    judgeBoot(
      { expect: { regions: [{ start: '1M', end: '2G', node: 0 }] } },
      boot,
    ).unobserved.find(({ check }) => check === 'regions-expected'),
    { missing: ['memory'] },
  )
  const nothing = judgeBoot(NODES, {
    without: ['console', 'memory', 'module', 'steps'],
  })
  t.not(nothing.verdict, 'pass', 'nobody saw anything: that proves nothing')
})

t.test('a kernel without TDX host support: the layout alone', async t => {
  const kernel = { ...KERNEL, hostsTdx: false }
  const silent = (lines: string[]): string[] =>
    lines.filter(line => !/tdx/i.test(line))
  const boot = { kernel, editConsole: silent }
  const fine = judgeBoot(NODES, boot)
  t.match(fine, { verdict: 'pass', scope: 'layout', reasons: [] })
  t.match(
    judgeBoot({ ...NODES, expect: { tdx: 'failed' } }, boot),
    { verdict: 'pass' },
    'what is expected of TDX does not matter',
  )
  t.equal(judgeBoot(NODES).scope, 'tdx')
  const other = judgeBoot(NODES, {
    kernel,
    editConsole: lines =>
      replace(
        /node {3}1: \[mem 0x\w+/,
        'node   1: [mem 0x0000000123456000',
      )(silent(lines)),
  })
  t.match(other, { verdict: 'fail', reasons: [{ check: 'node-ranges' }] })
})

t.test('a list that nobody can read is not observed', async t => {
  const kernel = { ...KERNEL, hasMemlist: false }
  const change = { regions: null, regionsAtBoot: null }
  t.match(judgeBoot(NODES, { kernel, change }), {
    verdict: 'pass',
    unobserved: [{ check: 'regions', missing: ['memory'] }],
  })
  t.match(
    judgeBoot(NODES, { change }),
    { verdict: 'invalid', reasons: [{ check: 'regions' }] },
    'it can be read, and was not',
  )
})

t.test('a kernel that was told something else, and died of it', async t => {
  const { verdict, text } = judged(
    NODES,
    { end: 'reset', effectiveCmdline: null },
    replace(/memmap=64M\$0x140000000/g, 'memmap=64Mx140000000'),
  )
  t.equal(verdict, 'invalid', 'that may be why')
  t.match(text, /found memmap=64Mx140000000/)
  t.match(text, /^end: /m)
})

t.test('a console that may have lost characters', async t => {
  const lossy = {
    lossy: true,
    without: ['memory', 'module', 'steps'] as const,
  }
  const cut = replace('user: [mem 0x144000000', 'user: [mem 0x145000000')
  t.equal(judgeBoot(NODES, lossy).verdict, 'pass')
  const { verdict, reasons } = judgeBoot(NODES, { ...lossy, editConsole: cut })
  t.equal(verdict, 'invalid')
  t.equal(reasons.at(-1)?.check, 'console')
  t.ok(reasons.every(({ kind }) => kind === 'invalid'))
  t.equal(
    judgeBoot(NODES, { ...lossy, editConsole: cut, change: { end: 'reset' } })
      .verdict,
    'fail',
    'an end is an end',
  )
  const first = replace('memmap=64M$0x140000000', 'memmap=64Mx140000000')
  const again = (lines: string[]): string[] => {
    const at = lines.findIndex(line => line.includes('Command line: '))
    const line = lines[at]!.replace('Command line', 'Kernel command line')
    return [...first(lines), line]
  }
  t.equal(
    judgeBoot(NODES, { ...lossy, editConsole: again }).verdict,
    'pass',
    'the kernel prints its command line twice',
  )
  t.equal(
    judgeBoot(NODES, { ...lossy, editConsole: first, change: { end: 'reset' } })
      .verdict,
    'fail',
    'a word that one line lacks may be lost',
  )
})
