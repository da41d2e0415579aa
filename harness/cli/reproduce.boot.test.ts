import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { execa } from 'execa'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { explainSchema } from '../report/explain-schema.ts'
import { documentSchema } from '../report/schema.ts'
import { runCli, shortFolder, startCli } from '../testing/cli.ts'

/** From a log to a boot, and from a failed boot to somebody else. */

const GOLDEN = join(projectRoot(), 'harness', 'console', 'golden')
const consoleOf = (name: string): Buffer => {
  const bytes = readFileSync(join(GOLDEN, name))
  return bytes.subarray(bytes.indexOf('\n\n') + 2)
}

/** Seventeen holes below 2 GiB, printed by a kernel of ours. */
const SEVENTEEN = 'upstream-6.12-seventeen.txt'

t.test('a log is replayed with one command, and made small', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'dmesg.txt'), consoleOf(SEVENTEEN))
  const replay = await runCli(['replay', 'dmesg.txt', '--run'], { cwd })
  t.equal(replay.code, 0, replay.stderr)
  t.match(replay.stdout, /^dmesg.yaml: replay of a log of Linux 6.12.117$/m)
  t.match(replay.stdout, /^pass .*failed at reserved-areas \(-28\)/m)
  t.match(replay.stdout, /^the same as in the log: failed at reserved-areas/m)
  const small = await runCli(['minimise', 'dmesg.yaml'], { cwd })
  t.equal(small.code, 0, small.stderr)
  t.match(small.stdout, /proven by 2 boots/)
  // The line that is printed works as it stands.
  const [line] = /^.* run dmesg-minimal.yaml --kernel .*$/m.exec(small.stdout)!
  const proof = await execa('bash', ['-c', line], { cwd, reject: false })
  t.match(proof, { exitCode: 0, stdout: /failed at reserved-areas \(-28\)/ })
  // It is not written over, unless it is the same.
  t.equal((await runCli(['replay', 'dmesg.txt'], { cwd })).code, 0)
  writeFileSync(join(cwd, 'dmesg.yaml'), '# mine\n')
  t.match(await runCli(['replay', 'dmesg.txt'], { cwd }), {
    code: 2,
    stderr: /dmesg.yaml exists and is another scenario/,
  })
})

t.test('what explain offers works on the machine of the log', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'dmesg.txt'), consoleOf(SEVENTEEN))
  const explained = await runCli(['explain', '--json', 'dmesg.txt'], { cwd })
  const [log] = explainSchema.parse(JSON.parse(explained.stdout)).logs
  const words = log?.workaround?.words ?? []
  t.ok(words.length > 0)
  const tried = await runCli(
    [
      'replay',
      'dmesg.txt',
      '--run',
      ...words.flatMap(word => ['--with', word]),
    ],
    { cwd },
  )
  t.equal(tried.code, 0, tried.stderr)
  t.ok(
    tried.stdout.includes(
      `with ${words.join(' ')}: initialized; in the log: failed at reserved-areas (-28)`,
    ),
    tried.stdout,
  )
})

const WRONG = `name: wrong on purpose
why: something must fail
machine: { memory: 1G }
matrix:
  machine.cpus: [1, 2]
tdx: { module: none }
kernels: [upstream-6.12]
`

t.test('a failed case is handed over, and judged again', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'wrong.yaml'), WRONG)
  const run = await runCli(
    ['run', 'wrong.yaml', '--bundle', 'b', '--json', 'run.json'],
    { cwd },
  )
  t.equal(run.code, 1)
  const bundles = readdirSync(join(cwd, 'b')).map(name => join('b', name))
  t.equal(bundles.length, 2)
  for (const bundle of bundles) t.ok(run.stdout.includes(`bundle: ${bundle}`))
  const again = await runCli(
    ['run', '--rejudge', ...bundles, '--json', 'again.json'],
    { cwd },
  )
  t.equal(again.code, 1)
  t.match(again.stdout, /2 cases: 0 pass, 2 fail/)
  const line = /^ +again: (tar xzf .*)$/m.exec(again.stdout)?.[1]
  t.match(line, /^tar xzf b\/\S+ && \S+ run \S+\/scenario.yaml$/)
  t.match(
    await runCli(['run', '--rejudge', ...bundles, '--no-shortcuts'], { cwd }),
    { code: 2, stderr: /cannot be combined with --no-shortcuts/ },
  )
  const cases = (name: string) =>
    documentSchema
      .parse(JSON.parse(readFileSync(join(cwd, name), 'utf8')))
      .cases.map(result => ({
        ...result,
        console: null,
        timing: null,
        reproduce: null,
      }))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
  t.same(cases('again.json'), cases('run.json'), 'nothing was lost')
  t.match(await runCli(['explain', bundles[0]!], { cwd }), {
    code: 0,
    stdout: /failed at sys-init .*no TDX module in the memory/s,
  })
  writeFileSync(join(cwd, 'log.gz'), gzipSync(consoleOf(SEVENTEEN)))
  t.match(await runCli(['explain', 'log.gz'], { cwd }), {
    code: 0,
    stdout: /^log.gz: failed at reserved-areas/,
  })
  for (const [file, message] of [
    ['wrong.yaml', /expected an archive of tdxrig run --bundle/],
    ['log.gz', /expected an archive of tdxrig run --bundle/],
    ['missing', /cannot read missing/],
  ] as const)
    t.match(await runCli(['run', '--rejudge', file], { cwd }), {
      code: 2,
      stderr: message,
    })
})

t.test('an interrupt leaves nothing behind', async t => {
  const cwd = shortFolder(t)
  writeFileSync(
    join(cwd, 'open.yaml'),
    // The model does not follow acpi=off: all is left to boots.
    'name: n\nwhy: w\nmachine: { memory: 1G }\ncmdline: { append: [acpi=off, nosmt, numa=on] }\nkernels: [upstream-6.12]\nexpect: { tdx: predicted }\n',
  )
  const running = startCli(['minimise', 'open.yaml'], { cwd })
  await new Promise(resolve => running.child.stderr?.once('data', resolve))
  running.child.kill('SIGINT')
  const { code } = await running.ended
  t.equal(code, 130)
  t.notOk(existsSync(join(cwd, 'open-minimal.yaml')))
  t.match(await runCli(['minimise', 'wrong.yaml'], { cwd }), { code: 2 })
  writeFileSync(join(cwd, 'wrong.yaml'), WRONG)
  t.match(await runCli(['minimise', 'wrong.yaml'], { cwd }), {
    code: 2,
    stderr: /expected one cell to make smaller, found 2/,
  })
})
