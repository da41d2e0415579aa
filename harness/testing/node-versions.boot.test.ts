import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { runCli, shortFolder } from './cli.ts'
import { nodeReleases } from './node-versions.ts'

const SCENARIO = join(projectRoot(), 'scenarios', 'plain', 'one-node.yaml')

const { releases = [], missing } = await nodeReleases()

t.test('every release boots', { skip: missing ?? false }, async t => {
  for (const { version, program } of releases) {
    const { code, stdout, stderr } = await runCli(
      ['run', SCENARIO, '--kernel', 'upstream-6.12', '--accel', 'tcg'],
      { cwd: shortFolder(t), node: program },
    )
    t.equal(code, 0, `${version} ${stderr}`)
    t.match(stdout, /^\d+ cases: \d+ pass, 0 fail in /m, version)
  }
})
