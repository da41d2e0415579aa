import t from 'tap'
import { detectIncident } from './oops.ts'

t.test('incidents', async t => {
  const kind = (text: string): string | undefined =>
    detectIncident({ line: 1, time: 0, text, prefixed: true, user: false })
      ?.kind
  t.equal(kind('Kernel panic - not syncing: VFS'), 'panic')
  t.equal(
    kind(
      'Invalid user supplied memory map[    0.0] Kernel panic - not syncing: Invalid',
    ),
    'panic',
  )
  t.equal(kind('BUG: kernel NULL pointer dereference, address: 0'), 'oops')
  t.equal(kind('Oops: 0002 [#1] PREEMPT SMP'), 'oops')
  t.equal(kind('watchdog: BUG: soft lockup - CPU#0 stuck'), 'lockup')
  t.equal(kind('rcu: INFO: rcu_sched self-detected stall on CPU'), 'lockup')
  t.equal(kind('WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2'), 'warning')
  t.equal(kind('Out of memory: Killed process 1'), 'out-of-memory')
  t.equal(
    kind(
      'mce: [Hardware Error]: Machine check: TDX private memory error. Possible kernel bug.',
    ),
    'machine check',
  )
  t.equal(kind('mce: [Hardware Error]: TSC 0 ADDR 1'), undefined)
  t.equal(kind('---[ end Kernel panic - not syncing: VFS ]---'), undefined)
  t.equal(kind('This is not a BUG: really'), undefined)
})
