import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { projectRoot } from '../../base/paths.ts'
import { runCli, shortFolder } from '../../testing/cli.ts'
import { makeHistory } from '../../testing/linux-history.ts'

/** Two nights of a branch: the second begins with a planted fault. */

t.setTimeout(3_600_000)

const NIGHT = (tree: string): string => `name: branch
kernels:
  next: { git: ${tree}, ref: next, like: upstream-6.12 }
machines:
  qemu: { qemu: tcg }
runs:
  - scenarios: [${join(projectRoot(), 'scenarios/plain/one-node.yaml')}]
    kernels: [next]
    machines: [qemu]
failures: { bisect: 1 }
`

t.test(
  'a new failure of a branch is bisected at the end of its night',
  {
    skip:
      process.env['TDXRIG_ON_REQUEST'] === undefined &&
      'it builds five kernels: TDXRIG_ON_REQUEST=1',
    timeout: 3_600_000,
  },
  async t => {
    const cwd = shortFolder(t)
    const tree = await makeHistory(cwd)
    const branch = (commit: string) =>
      execa('git', ['--git-dir', tree, 'branch', '--force', 'next', commit])
    writeFileSync(join(cwd, 'night.yaml'), NIGHT(tree))
    const env = { XDG_DATA_HOME: join(cwd, 'data'), DATABASE_URL: '' }
    const night = (out: string) =>
      runCli(['night', 'run', 'night.yaml', '--out', out], { cwd, env })

    await branch('HEAD~5')
    const good = await night('first')
    t.equal(good.code, 0, good.stderr)

    await branch('HEAD')
    const bad = await night('second')
    t.equal(bad.code, 1, bad.stderr)
    t.match(bad.stdout, /new failures: \d/)
    t.match(bad.stdout, /first bad: [0-9a-f]{12} the last page is lost/)
    t.match(
      readFileSync(join(cwd, 'second/bisect-1/bisect.jsonl'), 'utf8'),
      /"the last page is lost"|patches|commit/,
    )
  },
)
