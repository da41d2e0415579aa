import t from 'tap'
import { alwaysFails } from '../../tdx/fault.ts'
import type { Seen } from '../../testing/records.ts'
import { LEAF } from '../../tdx/leaves.ts'
import { NODES, judged, replace } from '../../testing/judged.ts'

type Calls = Seen['seamcalls']

const calls =
  (edit: (list: Calls) => Calls) =>
  (record: Seen): Partial<Seen> => ({
    seamcalls: edit(record.seamcalls),
  })

const lastOf = (list: Calls, leaf: number): number =>
  list.findLastIndex(call => call.leaf === leaf)

t.test('initialized means that every part was', async t => {
  const cases: [leaf: number, reason: RegExp][] = [
    [LEAF.SYS_LP_INIT, /TDH.SYS.LP.INIT on CPU 1 never succeeded/],
    [LEAF.SYS_KEY_CONFIG, /TDH.SYS.KEY.CONFIG on package 1 never succeeded/],
    [LEAF.SYS_TDMR_INIT, /TDH.SYS.TDMR.INIT of the whole TDMR at 0x\w+ never/],
  ]
  for (const [leaf, reason] of cases) {
    const skipped = judged(
      NODES,
      calls(list => list.toSpliced(lastOf(list, leaf), 1)),
    )
    t.equal(skipped.verdict, 'fail')
    t.match(skipped.text, reason)
  }
})

t.test('a failure the kernel hides is found', async t => {
  const hidden = judged(
    NODES,
    calls(list => [...list, { ...list[0]!, leaf: LEAF.SYS_RD, status: 5n }]),
  )
  t.equal(hidden.verdict, 'fail')
  t.match(
    hidden.text,
    /TDH.SYS.RD on CPU 0 returned 0x5, and the kernel said nothing/,
  )
  const retried = calls(list => [
    ...list,
    { ...list[0]!, status: 0x8000020300000000n },
  ])
  t.equal(judged(NODES, retried).verdict, 'pass', 'a retry is silent')
  const powerOff = calls(list => [
    ...list,
    { ...list[0]!, leaf: LEAF.SYS_DISABLE, status: 0xc000010000000000n },
  ])
  t.equal(judged(NODES, powerOff).verdict, 'pass', 'the boot is over')
})

t.test('the trigger and the log agree', async t => {
  const edit = replace('tdx_enable=0', 'tdx_enable=-5')
  t.match(
    judged(NODES, {}, edit).text,
    /^trigger: .*log says initialized.*tdx_enable\(\) -5/m,
  )
  const fewer = judged(NODES, {}, replace('cpus=2', 'cpus=1'))
  t.equal(fewer.verdict, 'invalid')
  t.match(fewer.text, /expected 2 CPUs online, found 1/)
})

t.test('proof: the kernel asked us, and got the parameters', async t => {
  const mute = judged(NODES, { keyidReads: 0 })
  t.equal(mute.verdict, 'invalid')
  t.match(mute.text, /never read MSR 0x87/)
  const damaged = replace(/Command line: .*\n/, 'Command line: cut\n')
  t.equal(
    judged(NODES, r => ({ effectiveCmdline: r.cmdline }), damaged).verdict,
    'pass',
    "the kernel's own copy counts",
  )
  t.equal(judged(NODES, { effectiveCmdline: 'x' }).verdict, 'invalid')
})

t.test('a fault that never happened proves nothing', async t => {
  const fault = alwaysFails('SYS_INFO', 1n)
  const unmet = judged(NODES, { unmetFaults: [fault] })
  t.equal(unmet.verdict, 'invalid')
  t.match(
    unmet.text,
    /fault on SYS.INFO was asked for, and the kernel never met it/,
  )
})

t.test('numa=off must have turned NUMA off', async t => {
  const off = { ...NODES, cmdline: { append: ['numa=off'] } }
  t.equal(judged(off).verdict, 'pass')
  const ignored = judged(off, {}, replace('NUMA turned off\n', ''))
  t.match(
    ignored.text,
    /^srat: .*expected NUMA turned off, found from the SRAT/m,
  )
})

t.test('an unpredictable parameter hides no dropped memmap=', async t => {
  const cell = {
    machine: { memory: '2G' },
    cmdline: { memmap: ['64M$0x40000000'], append: ['numa=fake=1'] },
  }
  const dropped = judged(cell, {}, lines =>
    lines.filter(line => !line.startsWith('user')),
  )
  t.equal(dropped.verdict, 'invalid')
  t.match(dropped.text, /^user-map: /m)
})
