import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { runCli, shortFolder, startCli } from '../testing/cli.ts'
import { CHANGES, diffOf, makeHistory } from '../testing/linux-history.ts'

/** A planted fault is found, in a series of patches and in a git history. */

// It builds kernels: with an empty compiler cache on a busy machine that takes
// far more than what is usual for a test.
t.setTimeout(3_000_000)

const SCENARIO = join(projectRoot(), 'scenarios/plain/one-node.yaml')
const CASE = 'one-node[cpus=1]'

/** As a mailing list delivers them. */
const mbox = (): string =>
  CHANGES.map((change, i) =>
    [
      `From ${String(i).padStart(40, '0')} Mon Sep 17 00:00:00 2001`,
      'From: A Developer <developer@example.org>',
      `Date: Thu, 1 Jan 2026 00:00:0${i} +0000`,
      `Message-Id: <${i}@example.org>`,
      `Subject: [PATCH ${i + 1}/${CHANGES.length}] ${change.subject}`,
      '',
      'Signed-off-by: A Developer <developer@example.org>',
      '---',
      diffOf(change),
    ].join('\n'),
  ).join('\n')

t.test('the patch of a series that breaks a scenario', async t => {
  const cwd = shortFolder(t)
  writeFileSync(join(cwd, 'series.mbox'), mbox())
  const options = ['--patches', 'series.mbox', '--kernel', 'upstream-6.12']
  const ask = ['bisect', SCENARIO, '--filter', CASE, ...options, '--out', 'b']
  // Interrupted once both ends are known, it goes on where it was.
  const first = startCli(ask, { cwd })
  await first.printed('good  no patch')
  first.child.kill('SIGINT')
  const interrupted = await first.ended
  t.equal(interrupted.code, 130, interrupted.stderr)
  t.match(interrupted.stderr, /bisect --resume b/)
  const found = await runCli(['bisect', '--resume', 'b'], { cwd })
  t.equal(found.code, 0, found.stderr)
  t.match(found.stdout, /^skip {2}patch 2 of 5, .*configure failed/m)
  t.match(found.stdout, /^good {2}patch 3 of 5, /m)
  t.match(found.stdout, /^bad {3}patch 4 of 5, /m)
  t.match(found.stdout, /^first bad: patch 4 of 5, .*the last page is lost/m)
  t.match(found.stdout, /new failures: 1\n {2}plain\/one-node\[cpus=1\]/)
  t.match(
    found.stdout,
    /other regions: 1\n.*\n {4}\[0x7ffdf000, 0x7ffe0000\), 4K, gone/,
    'the pages that are lost',
  )
  for (const name of ['patches-3', 'patches-4'])
    t.ok(existsSync(join(cwd, 'b', name, 'result.json')), name)
  const [again] = /\S*tdxrig run .*$/m.exec(found.stdout)!
  t.match(
    await execa('bash', ['-c', again], { cwd, reject: false }),
    { exitCode: 1, stdout: /^FAIL/ },
    'the line that is printed works as it stands',
  )
  const steps = readFileSync(join(cwd, 'b', 'bisect.jsonl'), 'utf8')
  t.equal(
    steps.match(/"name":"patches-5"/g)?.length,
    1,
    'the ends were not booted again',
  )
})

t.test('bisects that cannot be', async t => {
  const cwd = shortFolder(t)
  const ask = (...args: string[]) => runCli(['bisect', ...args], { cwd })
  for (const [args, message] of [
    [[], /expected the scenario that fails/],
    [[SCENARIO], /expected --tree with --good and --bad/],
    [[SCENARIO, '--patches', '--good', 'x'], /takes no --good/],
    [
      [SCENARIO, '--tree', '.', '--good', 'a', '--bad', 'b'],
      /expected a commit 'a' in the git repository/,
    ],
    [['--resume', 'nowhere'], /expected the journal of a bisect/],
    [[SCENARIO, '--resume', 'nowhere'], /it takes no scenario/],
    [[SCENARIO, '--patches', '--confidence', '2'], /from 0\.5 to 0\.9999/],
    [[SCENARIO, '--patches', 'no.mbox'], /no\.mbox/],
  ] as const) {
    const { code, stderr } = await ask(...args)
    t.equal(code, 2, stderr)
    t.match(stderr, message)
  }
})

const onRequest = process.env['TDXRIG_ON_REQUEST'] === undefined

t.test(
  'the commit of a git history',
  {
    skip: onRequest && 'it builds five kernels: TDXRIG_ON_REQUEST=1',
    timeout: 3_600_000,
  },
  async t => {
    const cwd = shortFolder(t)
    const tree = await makeHistory(cwd)
    const range = ['--tree', tree, '--good', 'HEAD~5', '--bad', 'HEAD']
    const kernel = ['--kernel', 'upstream-6.12']
    const { code, stdout, stderr } = await runCli(
      ['bisect', SCENARIO, '--filter', CASE, ...range, ...kernel, '--out', 'b'],
      { cwd },
    )
    t.equal(code, 0, stderr)
    t.match(stdout, /^first bad: [0-9a-f]{12} the last page is lost$/m)
    t.match(stdout, /result of the one before: b\/[0-9a-f]{16}\/result.json/)
  },
)
