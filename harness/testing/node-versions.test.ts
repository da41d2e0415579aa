import { execa } from 'execa'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import * as z from 'zod'
import { projectRoot } from '../base/paths.ts'
import { runCli, shortFolder } from './cli.ts'
import { nodeReleases } from './node-versions.ts'

const GOLDEN = join(
  projectRoot(),
  'harness/console/golden/upstream-6.12-two-uneven.txt',
)

const { engines, version: ours } = z
  .object({ engines: z.object({ node: z.string() }), version: z.string() })
  .parse(JSON.parse(readFileSync(join(projectRoot(), 'package.json'), 'utf8')))

const { releases = [], missing } = await nodeReleases()
const skip = missing ?? false

t.test('the oldest release is the oldest that is supported', { skip }, t => {
  const [major, minor] = releases[0]!.version.split('.')
  t.equal(`>=${major}.${minor}`, engines.node)
  t.end()
})

t.test('every release starts, and explains alike', { skip }, async t => {
  const cwd = shortFolder(t)
  const texts = new Set<string>()
  for (const { version, program } of releases) {
    const { stdout } = await execa(program, ['--version'])
    t.equal(stdout, `v${version}`)
    const started = await runCli(['--version'], { cwd, node: program })
    t.match(started, { code: 0, stdout: `${ours}\n`, stderr: '' }, version)
    const explained = await runCli(['explain', GOLDEN], { cwd, node: program })
    t.match(explained, { code: 0, stderr: '' }, version)
    t.match(explained.stdout, 'upstream-6.12-two-uneven.txt: initialized')
    texts.add(explained.stdout)
  }
  t.equal(texts.size, 1)
})
