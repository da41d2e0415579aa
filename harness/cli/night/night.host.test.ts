import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../../base/paths.ts'
import {
  eventually,
  processesOf,
  shortFolder,
  startCli,
} from '../../testing/cli.ts'
import { statusIn } from '../../testing/night/status-in.ts'
import { HOST_KERNEL } from '../../testing/made-host/lab.ts'
import { ANYWHERE, faultsOn } from '../../testing/made-host/runs.ts'

/** A night on a made host and under QEMU, which is killed twice. */
const { lab, fault } = await faultsOn(t)

const PLAIN = join(projectRoot(), 'scenarios/plain')

const NIGHT = `name: mixed
machines:
  qemu: { qemu: tcg }
  rack: { hosts: [one] }
runs:
  - scenarios: [${join(PLAIN, 'two-uneven-nodes.yaml')}, ${join(PLAIN, 'no-srat.yaml')}]
    kernels: [mainline-7.3, upstream-6.12]
    machines: [qemu]
  - scenarios: [${ANYWHERE}]
    kernels: [${HOST_KERNEL}]
    machines: [rack]
`

interface Told {
  readonly cells: readonly {
    readonly id: string
    readonly class: string
    readonly attempts: readonly { readonly machine: string | null }[]
  }[]
  readonly events: readonly { readonly text: string }[]
}

fault('a night on both, killed in a boot of each', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'night.yaml'), NIGHT)
  const folder = join(cwd, 'out')
  const env = { XDG_DATA_HOME: join(cwd, 'data'), DATABASE_URL: '' }
  const args = [
    'night',
    'run',
    'night.yaml',
    '--out',
    folder,
    '--jobs',
    '1',
    '--host',
    'one',
    '--hosts',
    lab.inventory,
  ]
  const isRunning = (suffix: string): boolean =>
    statusIn(folder)?.running.some(({ id }) => id.endsWith(suffix)) ?? false
  for (const suffix of ['@rack', '@mainline-7.3']) {
    const { child, ended } = startCli(args, { cwd, env })
    t.ok(
      await eventually(() => isRunning(suffix), 600),
      `a boot of ${suffix} is under way`,
    )
    process.kill(child.pid!, 'SIGKILL')
    const { stderr } = await ended
    t.comment(stderr)
    t.ok(
      await eventually(() => processesOf(cwd).length === 0),
      'nothing is left of it',
    )
  }
  const last = startCli(args, { cwd, env })
  const { code, stdout, stderr } = await last.ended
  t.comment(stdout + stderr)
  t.equal(code, 0)
  const { cells, events } = JSON.parse(
    readFileSync(join(folder, 'night.json'), 'utf8'),
  ) as Told
  t.ok(cells.length > 7)
  t.ok(cells.every(({ class: is }) => is === 'pass'))
  const onHost = cells.filter(({ id }) => id.endsWith('@rack'))
  t.ok(onHost.length > 2)
  t.ok(
    onHost.every(({ attempts }) => attempts.at(-1)?.machine === 'one'),
    'they were booted there',
  )
  t.ok(events.some(({ text }) => text.includes('booted again')))
})
