import t from 'tap'
import { whyNoHosts } from '../../testing/made-host/image.ts'
import { labFor, runOn, stateOf } from '../../testing/made-host/runs.ts'
import { runCli, shortFolder } from '../../testing/cli.ts'

/**
 * A short way over a made host: one test boot, and one home. What else can
 * happen is in *.host.test.ts, which `scripts/test hosts` runs.
 */
const why = await whyNoHosts()
t.test('a scenario on a made host', { skip: why ?? false }, async t => {
  const lab = await labFor(t)
  const host = lab.host('one')
  const before = await stateOf(host)

  const check = await runCli(['hosts', 'check', '--hosts', lab.inventory], {
    cwd: shortFolder(t),
  })
  t.equal(check.code, 0, check.stdout + check.stderr)
  t.match(check.stdout, 'ok  boot        grub starts an entry once')
  t.match(check.stdout, 'its BMC says that it is on')
  t.match(check.stdout, 'initialized')

  const { code, cases, stderr } = await runOn(t, {
    lab,
    host: 'one',
    scenario: `machine: { needs: { nodes: 2, memory: 4G } }
cmdline: { memmap: ['64M$@node1+512M', '16M#@largest+256M'] }
`,
  })
  t.equal(code, 0)
  t.notMatch(stderr, 'console was not kept', 'the whole console came over LAN')
  const [first] = cases
  t.equal(first?.verdict, 'pass')
  t.match(first?.cmdline?.effective, /memmap=64M\$0x/)
  t.equal(first?.tdx?.outcome, 'initialized')

  t.equal(await stateOf(host), before, 'the host is as it was')
})
