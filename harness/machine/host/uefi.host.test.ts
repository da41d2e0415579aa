import t from 'tap'
import { HOST_KERNEL } from '../../testing/made-host/lab.ts'
import { faultsOn, runOn } from '../../testing/made-host/runs.ts'

/** A made host with UEFI and systemd-boot; a boot of it takes a minute more. */
const { lab, fault } = await faultsOn(t, { uefi: true })

fault('two kernels, one of them with an initrd', async (t, host) => {
  const release = await host.shell('ls /lib/modules')
  const { code, cases } = await runOn(t, {
    lab,
    host: 'one',
    kernels: [HOST_KERNEL, `installed:${release}`],
    scenario: JSON.stringify({
      machine: { needs: { memory: '2G' } },
      cmdline: { memmap: ['64M$@largest+256M'] },
    }),
  })
  t.equal(code, 0)
  t.match(cases, [
    { verdict: 'pass', scope: 'tdx', tdx: { outcome: 'initialized' } },
    // Before 7.0 the map shows where the boot loader left setup data.
    { verdict: 'pass', scope: 'layout' },
  ])
  for (const { cmdline } of cases) t.match(cmdline?.effective, 'memmap=64M$0x')
  t.equal(
    await host.shell('bootctl list --json=short | grep -c tdxrig; true'),
    '0',
    'no entry is left',
  )
})
