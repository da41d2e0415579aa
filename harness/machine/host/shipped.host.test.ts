import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { CaseResult, ResultDocument } from '../../report/schema.ts'
import { runCli, shortFolder } from '../../testing/cli.ts'
import { HOST_KERNEL } from '../../testing/made-host/lab.ts'
import { ANYWHERE, faultsOn, runOn } from '../../testing/made-host/runs.ts'

/** What ships for any machine ends on a host as it does under QEMU. */
const { lab, fault } = await faultsOn(t)

/** How each case ended; the name of a host is the end of its id. */
const endings = (cases: readonly CaseResult[]) =>
  cases
    .map(({ id, verdict, tdx }) => ({
      id: id.replace(/@one$/, ''),
      verdict,
      outcome: tdx?.outcome,
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1))

fault('the scenarios for any machine, and QEMU', async t => {
  const cwd = shortFolder(t)
  const qemu = await runCli(
    ['run', '--kernel', HOST_KERNEL, '--json', 'result.json', ANYWHERE],
    { cwd },
  )
  t.equal(qemu.code, 0, qemu.stdout)
  const { cases } = JSON.parse(
    readFileSync(join(cwd, 'result.json'), 'utf8'),
  ) as ResultDocument
  const onHost = await runOn(t, { lab, host: 'one' })
  t.equal(onHost.code, 0)
  t.ok(cases.length > 5)
  t.same(endings(onHost.cases), endings(cases))
  t.ok(onHost.cases.every(({ verdict }) => verdict === 'pass'))
})
