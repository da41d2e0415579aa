import t from 'tap'
import type { MadeHost } from '../../testing/made-host/lab.ts'
import {
  type HostRun,
  INITIALIZED,
  endLease,
  faultsOn,
  inventoryWith,
  runOn,
  startRun,
} from '../../testing/made-host/runs.ts'

/** It initialises TDX when our module asks it to, after ssh has answered. */
const OLDER_KERNEL = 'upstream-6.12-server'

/** What can happen to a test boot, on one made host. Each takes a minute or two. */
const { lab, host, fault } = await faultsOn(t, {
  alsoKnown: [OLDER_KERNEL],
})

const scenario = (...append: string[]): string =>
  JSON.stringify({
    machine: { needs: { memory: '2G' } },
    cmdline: { memmap: ['64M$@largest+256M'], append },
  })

/** A service that test boots ask for. */
const addUnit = async (
  host: MadeHost,
  name: string,
  command: string,
): Promise<void> => {
  const text = `[Service]\nExecStart=/bin/sh -c '${command}'\n`
  await host.shell(
    `echo ${Buffer.from(text).toString('base64')} | base64 -d >/etc/systemd/system/${name}.service`,
  )
}
const removeUnit = (host: MadeHost, name: string): Promise<string> =>
  host.shell(`rm /etc/systemd/system/${name}.service`)

/**
 * The rig gave a host up that it could not reach. It boots its default when
 * somebody switches it on, and the next run puts the rest in order.
 */
const leftAlone = async (host: MadeHost): Promise<void> => {
  await host.machine.off()
  await host.up()
  t.notMatch(await host.shell('cat /proc/cmdline'), 'tdxrig')
  await endLease(host)
  t.equal(
    verdictOf(await runOn(t, { lab, host: 'one', scenario: scenario() })),
    'pass',
  )
}

const verdictOf = ({ cases }: HostRun): string | undefined => cases[0]?.verdict
const reasonsOf = ({ cases }: HostRun): string =>
  (cases[0]?.reasons ?? []).map(({ message }) => message).join('\n')

fault("a '$' that something on the host takes away", async (t, host) => {
  // As tools do that write GRUB's files anew while the host goes down.
  await host.shell(
    `systemd-run --unit=eater --property=ExecStop="/bin/sed -i 's/1G.*0x/1Gx/' /boot/grub/custom.cfg" --remain-after-exit /bin/true`,
  )
  const run = await runOn(t, {
    lab,
    host: 'one',
    // The kernel takes the rest for the end of all memory: some must be left.
    scenario: JSON.stringify({
      machine: { needs: { memory: '4G' } },
      cmdline: { memmap: ['1G$@largest+256M'] },
    }),
  })
  t.equal(verdictOf(run), 'invalid')
  t.match(reasonsOf(run), /expected memmap=1G\$0x\w+, found memmap=1Gx/)
  t.equal(run.code, 1)
})

fault('a panic', async (t, host) => {
  await addUnit(host, 'crash', 'echo c >/proc/sysrq-trigger')
  const run = await runOn(t, {
    lab,
    host: 'one',
    scenario: scenario('systemd.wants=crash.service'),
  })
  await removeUnit(host, 'crash')
  t.equal(verdictOf(run), 'fail')
  t.match(reasonsOf(run), /panic/)
  t.equal(run.cases[0]?.tdx?.outcome, 'initialized', 'judged by its console')
  t.equal(run.code, 1)
})

fault('a kernel before 7.1', async t => {
  const run = await runOn(t, {
    lab,
    host: 'one',
    kernels: [OLDER_KERNEL],
    scenario: scenario(),
  })
  t.equal(verdictOf(run), 'pass')
  t.equal(run.cases[0]?.tdx?.outcome, 'initialized')
})

fault('a kernel that dies of what it is asked', async (t, host) => {
  // Before 7.1 KVM initialises TDX, if there is one.
  await host.shell(
    `echo 'install kvm_intel echo c >/proc/sysrq-trigger' >/etc/modprobe.d/crash.conf`,
  )
  const run = await runOn(t, {
    lab,
    host: 'one',
    kernels: [OLDER_KERNEL],
    scenario: scenario(),
  })
  await host.shell('rm /etc/modprobe.d/crash.conf')
  t.equal(verdictOf(run), 'fail')
  t.match(reasonsOf(run), /panic/, 'judged by its console')
})

fault('a hang that a watchdog ends', async (t, host) => {
  const at = host.serial.text.length
  const { run } = startRun(t, { lab, host: 'one', scenario: scenario() })
  await host.serial.printed('Using hardware watchdog', at)
  await host.machine.hang()
  const ended = await run
  t.equal(verdictOf(ended), 'fail')
  t.match(reasonsOf(ended), /reset|lockup/)
})

fault('a kernel that never reaches the network', async t => {
  const run = await runOn(t, {
    lab,
    host: 'one',
    inventory: inventoryWith(lab, host, { deadline: '80s' }),
    scenario: scenario('systemd.mask=ssh.service'),
  })
  t.equal(verdictOf(run), 'fail')
  t.match(run.stderr, 'its power is cycled')
})

fault('somebody cycles its power', async (t, host) => {
  const at = host.serial.text.length
  const { run } = startRun(t, { lab, host: 'one', scenario: scenario() })
  await host.serial.printed(INITIALIZED, at)
  await host.machine.off()
  await host.machine.on()
  const ended = await run
  t.equal(verdictOf(ended), 'fail')
  t.match(reasonsOf(ended), /reset/)
})

fault('the network is gone for a while', async (t, host) => {
  const at = host.serial.text.length
  const { run } = startRun(t, { lab, host: 'one', scenario: scenario() })
  await host.serial.printed(INITIALIZED, at)
  await host.machine.cable(false)
  await host.serial.printed('login:', at)
  await host.machine.cable(true)
  t.equal(verdictOf(await run), 'pass')
})

fault('a flood on the console and in the log', async (t, host) => {
  await addUnit(
    host,
    'flood',
    'while :; do echo flood >/dev/ttyS0; echo "<6>flood of the log: more than its buffer holds" >/dev/kmsg; done',
  )
  const run = await runOn(t, {
    lab,
    host: 'one',
    scenario: scenario('systemd.wants=flood.service', 'printk.devkmsg=on'),
  })
  await removeUnit(host, 'flood')
  t.equal(verdictOf(run), 'pass')
})

fault('a BMC that lies', async (t, host) => {
  await host.bmc.lie('on')
  const run = await runOn(t, {
    lab,
    host: 'one',
    inventory: inventoryWith(lab, host, { deadline: '60s' }),
    scenario: scenario('systemd.mask=ssh.service'),
  })
  await host.bmc.lie(undefined)
  t.equal(verdictOf(run), 'error')
  t.match(reasonsOf(run), 'its BMC says it is not')
  await leftAlone(host)
})

fault('a BMC that is silent', async (t, host) => {
  host.bmc.silence(true)
  const { run } = startRun(t, {
    lab,
    host: 'one',
    inventory: inventoryWith(lab, host, { deadline: '60s', console: 'none' }),
    scenario: scenario('systemd.mask=ssh.service'),
  })
  const ended = await run
  host.bmc.silence(false)
  t.equal(verdictOf(ended), 'error')
  // ipmitool gives up by itself, or is given up.
  t.match(reasonsOf(ended), /Unable to establish IPMI|no answer within 30 s/)
  t.match(ended.stderr, 'was not given back')
  await leftAlone(host)
})
