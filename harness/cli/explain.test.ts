import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { explainSchema } from '../report/explain-schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

const GOLDEN = join(projectRoot(), 'harness', 'console', 'golden')
const consoleOf = (name: string): Buffer => {
  const bytes = readFileSync(join(GOLDEN, name))
  return bytes.subarray(bytes.indexOf('\n\n') + 2)
}
const FAILED = consoleOf('upstream-6.12-seventeen.txt')
const GOOD = consoleOf('upstream-6.12-two-uneven.txt')

t.test('several logs, as text and as JSON', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'bad'), FAILED)
  writeFileSync(join(cwd, 'both'), Buffer.concat([GOOD, FAILED]))
  writeFileSync(join(cwd, 'empty'), '')
  const text = await runCli(['explain', 'bad', 'both', 'empty'], { cwd })
  t.equal(text.code, 0)
  t.match(text.stdout, /^bad: failed at reserved-areas \(-28\)$/m)
  t.match(text.stdout, /^both \(boot 1\): initialized$/m)
  t.match(text.stdout, /^both \(boot 2\): failed at reserved-areas/m)
  t.match(text.stdout, /^empty: absent$/m)
  t.match(text.stdout, /^ {2}what to do .*memmap=/m)
  t.match(text.stdout, /17 of 16 reserved areas in TDMR/)
  const json = await runCli(['explain', '--json', 'bad', 'both'], { cwd })
  const document = explainSchema.parse(JSON.parse(json.stdout))
  t.match(document.logs, [
    {
      file: 'bad',
      boot: 1,
      outcome: 'failed',
      stage: 'reserved-areas',
      errno: -28,
      keyids: [32, 64],
      kernel: '6.12.117',
      predicted: { outcome: 'failed', stage: 'reserved-areas' },
    },
    { file: 'both', boot: 1, outcome: 'initialized', pamtKiB: 16428 },
    { file: 'both', boot: 2, outcome: 'failed' },
  ])
})

t.test('what can be read is explained, what cannot is an error', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'noise'), Buffer.alloc(100_000, '\u0000\u001b[31m\r'))
  t.match(await runCli(['explain', 'noise', '-'], { cwd }), {
    code: 0,
    stdout: /^noise: absent$[^]*^-: absent$/m,
  })
  t.match(await runCli(['explain', 'missing'], { cwd }), {
    code: 2,
    stderr: /cannot read missing: /,
  })
  t.match(await runCli(['explain', '.'], { cwd }), { code: 2, stderr: /\./ })
  t.match(await runCli(['explain', '-', '-'], { cwd }), {
    code: 2,
    stderr: /'-' is given twice/,
  })
  t.match(await runCli(['explain'], { cwd }), { code: 2 })
})
