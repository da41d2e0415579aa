import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../../base/paths.ts'
import { shortFolder, runCli } from '../../testing/cli.ts'
import {
  INITIALIZED,
  bootOf,
  endLease,
  faultsOn,
  inventoryWith,
  resume,
  runOn,
  startRun,
} from '../../testing/made-host/runs.ts'

/** What can happen to the rig and on the way to a host, on one made host. */
const { lab, fault } = await faultsOn(t)

const SCENARIO = JSON.stringify({
  machine: { needs: { memory: '2G' } },
  cmdline: { memmap: ['64M$@largest+256M'] },
})
const GOING_DOWN = 'reboot: Restarting system'

fault('a host whose key is another one', async (t, host) => {
  const boot = await bootOf(host)
  const folder = shortFolder(t)
  const known = join(folder, 'known')
  writeFileSync(
    known,
    readFileSync(join(lab.directory, 'known_hosts'), 'utf8').replace(
      / AAAA.*$/m,
      ' AAAAC3NzaC1lZDI1NTE5AAAAIBd1gGRlkX5EJ9Ck2Xv1k2zqVnXo1PVrL8l1nm2XxKqA',
    ),
  )
  const config = join(folder, 'config')
  writeFileSync(
    config,
    readFileSync(lab.sshConfig, 'utf8').replace(
      /UserKnownHostsFile .*/,
      `UserKnownHostsFile ${known}`,
    ),
  )
  const inventory = join(folder, 'hosts.yaml')
  writeFileSync(
    inventory,
    JSON.stringify({ sshConfig: config, hosts: [host.entry] }),
  )
  const { code, stderr } = await runOn(t, {
    lab,
    host: 'one',
    inventory,
    scenario: SCENARIO,
  })
  t.equal(code, 3)
  t.match(stderr, /its key/)
  t.equal(await bootOf(host), boot, 'nothing was booted')
})

fault('no room in /boot', async (t, host) => {
  const boot = await bootOf(host)
  await host.shell(
    'fallocate -l $(($(df --output=avail -B1 /boot | tail -1) - 4096)) /filler; dd if=/dev/zero of=/filler2 bs=4k 2>/dev/null; true',
  )
  const { code, stderr, stdout } = await runOn(t, {
    lab,
    host: 'one',
    scenario: SCENARIO,
  })
  await host.shell('rm -f /filler /filler2')
  t.not(code, 0)
  t.match(stdout + stderr, /No space left|KiB are free/)
  t.equal(await bootOf(host), boot, 'nothing was booted')
})

fault('a lease that somebody else holds; Ctrl-C', async (t, host) => {
  const at = host.serial.text.length
  const first = startRun(t, { lab, host: 'one', scenario: SCENARIO })
  await host.serial.printed(GOING_DOWN, at)
  await host.serial.printed('login:', at)
  const second = await runOn(t, { lab, host: 'one', scenario: SCENARIO })
  t.equal(second.code, 3)
  t.match(second.stderr, /one is held by .* for 'tdxrig run scenario.yaml'/)
  first.child.kill('SIGINT')
  const home = host.serial.printed('login:')
  t.equal((await first.run).code, 130)
  await home
  // What it needed to get home is taken away by the next run.
  await host.shell(
    'rm -rf /boot/tdxrig /etc/systemd/system/tdxrig-guard.service /var/lib/tdxrig',
  )
})

fault('kill -9 before the reboot', async (t, host) => {
  const boot = await bootOf(host)
  const first = startRun(t, { lab, host: 'one', scenario: SCENARIO })
  // The entry is armed, and the reboot comes right behind it.
  await host.shell(
    'i=0; while ! grub-editenv list | grep -q next_entry && [ $i -lt 3000 ]; do i=$((i+1)); done',
  )
  first.child.kill('SIGKILL')
  await first.run
  await endLease(host).catch(() => undefined)
  t.ok(boot)
  // Whichever came first: the next run takes over and puts all in order.
  const second = await runOn(t, { lab, host: 'one', scenario: SCENARIO })
  t.equal(second.cases[0]?.verdict, 'pass')
})

fault('kill -9 while the host goes down, and --resume', async (t, host) => {
  const at = host.serial.text.length
  const first = startRun(t, { lab, host: 'one', scenario: SCENARIO })
  await host.serial.printed(GOING_DOWN, at)
  first.child.kill('SIGKILL')
  await first.run
  await host.serial.printed('login:', at)
  const home = host.serial.printed('login:')
  await endLease(host)
  await home
  t.notMatch(await host.shell('cat /proc/cmdline'), 'tdxrig')
  const { cases } = await resume(t, first)
  t.equal(cases[0]?.verdict, 'pass')
})

fault('kill -9 in a test boot, and a lease that runs out', async (t, host) => {
  const at = host.serial.text.length
  const { child, run } = startRun(t, {
    lab,
    host: 'one',
    // A lease is that and two minutes, where nobody can cycle its power.
    inventory: inventoryWith(lab, host, {
      deadline: '10s',
      power: undefined,
      console: 'none',
    }),
    scenario: SCENARIO,
  })
  await host.serial.printed(INITIALIZED, at)
  child.kill('SIGKILL')
  await run
  await host.serial.printed(GOING_DOWN, host.serial.text.length)
  await host.serial.printed('login:')
  t.notMatch(await host.shell('cat /proc/cmdline'), 'tdxrig')
  const { cases } = await runOn(t, { lab, host: 'one', scenario: SCENARIO })
  t.equal(cases[0]?.verdict, 'pass')
})

fault('a user who may run one script', async (t, host) => {
  const script = join(projectRoot(), 'images', 'host', 'tdxrig-host')
  const inventory = inventoryWith(lab, host, { ssh: 'ci-one' })
  const without = await runOn(t, {
    lab,
    host: 'one',
    inventory,
    scenario: SCENARIO,
  })
  t.equal(without.code, 2)
  t.match(without.stderr, "install it as 'tdxrig hosts script' says")
  await host.shell(
    `echo ${readFileSync(script).toString('base64')} | base64 -d >/usr/local/sbin/tdxrig-host; chmod 755 /usr/local/sbin/tdxrig-host`,
  )
  const { cases } = await runOn(t, {
    lab,
    host: 'one',
    inventory,
    scenario: SCENARIO,
  })
  t.equal(cases[0]?.verdict, 'pass')
  await host.shell('rm /usr/local/sbin/tdxrig-host')
})

fault('a kernel that is installed there, with its initrd', async (t, host) => {
  const release = await host.shell('ls /lib/modules')
  const { cases } = await runOn(t, {
    lab,
    host: 'one',
    kernels: [`installed:${release}`],
    scenario: SCENARIO,
  })
  t.equal(cases[0]?.verdict, 'pass')
  t.equal(cases[0]?.scope, 'layout', 'Debian 12 knows nothing of TDX')
})

fault('kexec', async (t, host) => {
  const { cases } = await runOn(t, {
    lab,
    host: 'one',
    inventory: inventoryWith(lab, host, { boot: { kexec: {} } }),
    scenario: SCENARIO,
  })
  t.equal(cases[0]?.verdict, 'pass')
})

fault('a host that is off', async (t, host) => {
  await host.machine.off()
  const { code, stderr } = await runOn(t, {
    lab,
    host: 'one',
    scenario: SCENARIO,
  })
  t.equal(code, 3)
  t.match(stderr, 'cannot reach one')
  t.match(stderr, 'its BMC says that it is off')
  const { stdout } = await runCli(
    ['hosts', 'check', '--hosts', lab.inventory],
    { cwd: shortFolder(t) },
  )
  t.match(stdout, 'its BMC says it is off')
  await host.up()
})
