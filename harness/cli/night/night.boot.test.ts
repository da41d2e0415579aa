import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../../base/paths.ts'
import {
  eventually,
  processesOf,
  runCli,
  shortFolder,
  startCli,
} from '../../testing/cli.ts'
import { statusIn } from '../../testing/night/status-in.ts'

/** Real nights: real kernels under QEMU, and a process that is killed. */

const KERNELS = ['mainline-7.3', 'upstream-6.12', 'v6-6.1']
const SCENARIOS = join(projectRoot(), 'scenarios/plain')

const NIGHT = `name: real
machines:
  qemu: { qemu: tcg }
runs:
  - scenarios: [${join(SCENARIOS, 'two-uneven-nodes.yaml')}, ${join(SCENARIOS, 'no-srat.yaml')}, wrong.yaml]
    kernels: [${KERNELS.join(', ')}]
    machines: [qemu]
`

/** The firmware reserves the last 128 KiB below 2 GiB. */
const WRONG = `name: wrong
why: an expectation that no kernel meets
kernels: [mainline-7.3]
machine: { memory: 2G }
expect:
  tdx: initialized
  regions: [{ start: 1M, end: 2G, node: 0 }]
`

t.test('a night on three kernels that is killed twice', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'night.yaml'), NIGHT)
  writeFileSync(join(cwd, 'wrong.yaml'), WRONG)
  const folder = join(cwd, 'out')
  const env = { XDG_DATA_HOME: join(cwd, 'data'), DATABASE_URL: '' }
  const args = ['night', 'run', 'night.yaml', '--out', folder, '--jobs', '2']
  for (const settled of [1, 3]) {
    const { child, ended } = startCli(args, { cwd, env })
    const isFar = (): boolean => {
      const status = statusIn(folder)
      return status !== undefined && status.cells - status.open >= settled
    }
    t.ok(await eventually(isFar, 240), `${settled} cases are settled`)
    process.kill(child.pid!, 'SIGKILL')
    await ended
    t.ok(
      await eventually(() => processesOf(cwd).length === 0),
      'nothing is left of it',
    )
  }
  const before = statusIn(folder)!
  t.ok(before.open > 0, 'it was killed in the middle')
  const asked = await runCli(['night', 'status', folder], { cwd, env })
  t.match(asked.stdout, /night 1 'real': running, \d of 7 cases/)
  t.match(asked.stdout, /nobody leads it|running/)

  // Whoever led it is given up when nothing was heard of it for a while.
  let last = await runCli(args, { cwd, env })
  while (last.code === 3 && last.stderr.includes('is under way'))
    last = await runCli(args, { cwd, env })
  t.equal(last.code, 1, last.stderr)
  t.match(last.stdout, /real: 7 cases, 6 pass, 1 fail in/)
  t.match(last.stdout, /failures: 1\n {2}.*\/wrong@mainline-7.3\n/)
  t.match(last.stdout, /failed in all 2 boots/)
  t.match(last.stdout, /night 1 goes on/)
  t.match(last.stdout, /was started again/)

  const night = JSON.parse(
    readFileSync(join(folder, 'night.json'), 'utf8'),
  ) as {
    readonly cells: readonly {
      readonly id: string
      readonly class: string
      readonly attempts: readonly unknown[]
    }[]
  }
  t.same(
    night.cells.map(({ class: is, attempts }) => [is, attempts.length]).sort(),
    [['fail', 2], ...Array.from({ length: 6 }, () => ['pass', 1])],
    'each case was stored once',
  )
  t.same(
    readdirSync(folder)
      .filter(name => !name.startsWith('state'))
      .sort(),
    [
      'cases',
      'junit.xml',
      'kcidb.json',
      'mail.md',
      'morning.txt',
      'night.json',
      'report.html',
      'result.json',
      'status.json',
    ],
  )
  const [console] = readdirSync(join(folder, 'cases'))
  t.match(
    readFileSync(join(folder, 'cases', console!, 'console.log'), 'utf8'),
    /Linux version/,
  )
  t.equal(statusIn(folder)?.state, 'done')
  const history = await runCli(['history', 'list'], { cwd, env })
  t.match(history.stdout, /real +6 pass, 1 fail/)

  // The next night: nothing is new, and the failure is known.
  const next = await runCli(
    ['night', 'run', 'night.yaml', '--out', join(cwd, 'next'), '--jobs', '2'],
    { cwd, env },
  )
  t.equal(next.code, 1)
  t.match(next.stdout, /still failing: 1\n/)
  t.match(next.stdout, /it never passed before/)
  t.notMatch(next.stdout, /new failures/)
})

t.test('Ctrl-C says how to go on, and what is wrong is told', async t => {
  const cwd = shortFolder(t)
  const env = { XDG_DATA_HOME: join(cwd, 'data'), DATABASE_URL: '' }
  writeFileSync(join(cwd, 'night.yaml'), NIGHT)
  writeFileSync(join(cwd, 'wrong.yaml'), WRONG)
  const folder = join(cwd, 'out')
  const { child, ended } = startCli(
    ['night', 'run', 'night.yaml', '--out', folder],
    { cwd, env },
  )
  t.ok(await eventually(() => (statusIn(folder)?.running.length ?? 0) > 0, 120))
  process.kill(-child.pid!, 'SIGINT')
  const stopped = await ended
  t.equal(stopped.code, 130)
  t.match(stopped.stderr, /to go on: .*night run night.yaml --out \S+out/)
  t.ok(await eventually(() => processesOf(cwd).length === 0))

  writeFileSync(join(cwd, 'night.yaml'), `${NIGHT}budget: 3h\n`)
  const dry = await runCli(['night', 'run', 'night.yaml', '--dry-run'], {
    cwd,
    env,
  })
  t.equal(dry.code, 2)
  t.match(dry.stderr, /is not ended: .*'night stop 1' ends it/)
  const ends = await runCli(['night', 'stop'], { cwd, env })
  t.equal(ends.code, 0, ends.stderr)
  t.match(ends.stdout, /night 1 of 'real' is stopped/)
  mkdirSync(join(cwd, 'other'))
  writeFileSync(join(cwd, 'other/status.json'), '{"name":"other"}')

  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['night', 'run', 'no.yaml'], /no.yaml/],
    [['night', 'run', 'night.yaml', '--no-worker'], /nobody to boot/],
    [
      ['night', 'run', 'night.yaml', '--database', 'mysql://x'],
      /postgres:\/\//,
    ],
    [
      [
        'night',
        'run',
        'night.yaml',
        '--database',
        'postgres://a:secret@127.0.0.1:1/x',
        '--patience',
        '1',
      ],
      /a:\.\.\.@127.0.0.1:1.*; check host and port/,
    ],
    [
      [
        'night',
        'run',
        'night.yaml',
        '--database',
        'postgres://a:s@c@h:99999/x',
      ],
      /found postgres:\/\/a:\.\.\.@h:99999\/x: .* a port is a number up to 65535/,
    ],
    [['night', 'stop'], /found none in this database/],
    [
      ['night', 'run', 'night.yaml', '--out', 'other'],
      /holds the reports of the night 'other'/,
    ],
    [['night', 'status', cwd], /expected the status of a night/],
    [['night', 'run', 'night.yaml', '--metrics', 'x'], /127.0.0.1:9464/],
    [['worker'], /expected --database/],
    [
      ['night', 'prune', '--database', 'postgres://127.0.0.1:1/x'],
      /expected --keep/,
    ],
  ]
  for (const [words, message] of wrong) {
    const { code, stderr } = await runCli(words, { cwd, env })
    t.ok(code === 2 || code === 3, `${words.join(' ')}: ${code ?? ''}`)
    t.match(stderr, message)
    t.notMatch(stderr, /secret|defect/)
  }
})
