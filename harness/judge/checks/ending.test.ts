import t from 'tap'
import { KERNEL, NODES, judged, replace } from '../../testing/judged.ts'
import { bodyOf, perfectBoot, recordOf } from '../../testing/records.ts'
import { judge } from '../judge.ts'

t.test('a boot without a result fails, with the evidence', async t => {
  const silent = judged(NODES, {
    end: 'silence',
    stuck: [
      { cpu: 0, rip: 0x10n, symbol: 'cpu_idle+0x3' },
      { cpu: 1, rip: 0x20n, symbol: null },
    ],
  })
  t.equal(silent.verdict, 'fail')
  t.match(
    silent.text,
    /no sign of life; the last console line is 'tdxrig: steps done.*the last SEAMCALL was TDH.SYS.TDMR.INIT on CPU 0; CPU 0 at cpu_idle\+0x3, CPU 1 at 0x20/,
  )
  t.match(judged(NODES, { end: 'reset' }).text, /reset itself/)
  t.match(
    judged(NODES, { end: 'exited' }, lines => [
      ...lines,
      'tdxrig: init: cannot load /x (-8)',
    ]).text,
    /a step failed: cannot load \/x \(-8\)/,
  )
  const nothing = judged(NODES, { end: 'silence' }, () => [])
  t.equal(nothing.verdict, 'fail')
  t.match(nothing.text, /the kernel printed nothing/)
  const panic = judged(
    NODES,
    {},
    replace(
      'virt/tdx: module',
      'Kernel panic - not syncing: x\nvirt/tdx: module',
    ),
  )
  t.equal(panic.verdict, 'fail')
})

t.test('a panic that is expected', async t => {
  const cell = { ...NODES, expect: { panic: 'Invalid user' } }
  t.equal(judged(cell).verdict, 'fail', 'it did not panic')
  t.equal(
    judged(
      cell,
      {},
      replace(
        'virt/tdx: module',
        'Kernel panic - not syncing: Invalid user map\nx',
      ),
    ).verdict,
    'pass',
  )
  t.match(
    judged(
      cell,
      {},
      replace('virt/tdx: module', 'Kernel panic - not syncing: VFS\nx'),
    ).text,
    /expected a panic with 'Invalid user'/,
  )
})

t.test('a machine check is laid to the memory that caused it', async t => {
  const cell = { ...NODES, steps: ['trigger', { machineCheck: 'pamt' }] }
  const BLAME =
    'mce: [Hardware Error]: Machine check: TDX private memory error. Possible kernel bug.\n'
  const after = (text: string) =>
    replace('tdxrig: steps done', `${text}Kernel panic - not syncing: Fatal `)
  const fatal = 'machine check'
  const said = (steps: readonly unknown[], text: string, machine = {}) =>
    judged(
      { ...cell, machine: { ...NODES.machine, ...machine }, steps },
      {},
      lines =>
        after(text)(lines).map(line =>
          line.replace(/Fatal $/, `Fatal ${fatal}`),
        ),
    )
  t.equal(said(cell.steps, BLAME).verdict, 'pass')
  t.match(said(cell.steps, '').text, /is laid to TDX private memory .*no word/)
  t.match(
    said(cell.steps, BLAME, { cpuModel: 'granite-rapids' }).text,
    /is not blamed .*granite-rapids does not have the erratum/,
  )
  const elsewhere = ['trigger', { machineCheck: '16M' }]
  t.equal(said(elsewhere, '').verdict, 'pass')
  t.match(said(elsewhere, BLAME).text, /is not blamed/)
  t.match(judged(cell).text, /expected the kernel to panic/, 'it went on')
  const late = judged(
    cell,
    {},
    replace(
      'tdxrig: steps done',
      'Kernel panic - not syncing: Timeout: Not all CPUs entered broadcast exception handler',
    ),
  )
  t.equal(late.verdict, 'invalid')
  t.match(late.text, /a CPU came too late/)
  t.notMatch(late.text, /is laid to/, 'nobody knows')
  const warned = judged(
    cell,
    {},
    replace(
      'tdxrig: steps done',
      `WARNING: x\n${BLAME}Kernel panic - not syncing: Fatal machine check`,
    ),
  )
  t.match(warned.text, /the kernel reports a warning/)
})

t.test('a kernel that is asked again', async t => {
  const cell = { ...NODES, steps: ['trigger', 'retry'] }
  const told = (enable: number): string =>
    judged(
      cell,
      {},
      replace(
        'tdxrig: steps done',
        `tdxrig: trigger: cpus=2 tdx_cpu_enable=0 tdx_enable=${enable}\ntdxrig: steps done`,
      ),
    ).text
  t.equal(told(0), '')
  t.match(
    told(-22),
    /retry 1: the model predicts 0 \(it is initialised\), found -22/,
  )
  t.match(judged(cell).text, /retry 1: .* found no report/)
})

t.test("the scenario's own expectations", async t => {
  const region = { start: '1M', end: 0x7ffe0000, node: 0 }
  const cell = { machine: { memory: '2G' } }
  t.equal(judged({ ...cell, expect: { regions: [region] } }).verdict, 'pass')
  t.match(
    judged({ ...cell, expect: { regions: [{ ...region, node: 1 }] } }).text,
    /^regions-expected: TDX memory regions, compared with the scenario: region 0 differs/,
  )
  t.match(judged({ ...cell, expect: { pamtKiB: 5 } }).text, /expected 5 KiB/)
  t.match(
    judged({ ...cell, expect: { tdx: 'failed', stage: 'pamt' } }).text,
    /expected failed at pamt, found initialized/,
  )
})

t.test(
  "parameters the model does not follow: the kernel's node ranges count",
  async t => {
    const body = bodyOf({
      machine: { memory: '2G' },
      cmdline: { append: ['acpi=off'] },
    })
    const { prediction, seen, console } = perfectBoot(
      body,
      replace(
        / {2}node {3}0: \[mem 0x100000-.*\]/,
        '  node   0: [mem 0x100000-0x3fffffff]\n  node   1: [mem 0x40000000-0x7ffdffff]',
      ),
    )
    const regions = [
      { start: 0x100000, end: 0x40000000, node: 0 },
      { start: 0x40000000, end: 0x7ffe0000, node: 1 },
    ]
    const result = judge({
      item: body,
      kernel: KERNEL,
      prediction,
      evidence: { ...console, record: recordOf({ ...seen, regions }) },
    })
    t.equal(result.basis, 'console')
    t.same(result.prediction.layout.regions, regions)
    t.notOk(result.reasons.some(({ check }) => check === 'regions-memory'))
  },
)
