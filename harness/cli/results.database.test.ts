import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { caseDocument, resultDocument } from '../report/document.ts'
import type { CaseResult } from '../report/schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'
import { judgedOutcome } from '../testing/judged.ts'
import { namedCase } from '../testing/records.ts'

/** What is done with results that are there already, as a user does it. */

const item = namedCase({ machine: { memory: '4G' } }, 'plain/one@kernel')
const passed = caseDocument(judgedOutcome(item), () => 'tdxrig run one')
const failed: CaseResult = {
  ...passed,
  verdict: 'fail',
  reasons: [{ kind: 'fail', check: 'end', message: 'it hangs' }],
}

const document = (day: number, cases: readonly CaseResult[]): string =>
  JSON.stringify(
    resultDocument(
      {
        rig: { version: '1', machine: 'QEMU', board: 'q35-10.0' },
        started: `2026-01-0${day}T00:00:00.000Z`,
        kernels: [{ name: 'kernel', key: 'abc', release: '7.3.0' }],
      },
      { durationMs: 1000, interrupted: false },
      cases,
    ),
  )

const folder = shortFolder(t)
for (const [name, text] of Object.entries({
  good: document(1, [passed]),
  bad: document(2, [failed]),
  old: document(3, [passed]).replace('tdxrig.result/3', 'tdxrig.result/2'),
  cut: document(1, [passed]).slice(0, -9),
  other: '{}',
})) {
  mkdirSync(join(folder, name))
  writeFileSync(join(folder, name, 'result.json'), text)
}
mkdirSync(join(folder, 'killed'))
writeFileSync(join(folder, 'killed', 'journal.jsonl'), '{}\n')

const run = (...args: string[]) =>
  runCli(args, {
    cwd: folder,
    env: { ...process.env, TDXRIG_HISTORY: join(folder, 'history') },
  })

t.test('report: a result in all forms at once', async t => {
  const forms = {
    '--junit': 'j.xml',
    '--kcidb': 'k.json',
    '--markdown': 'm.md',
    '--github-summary': 's.md',
    '--github-annotations': 'a.txt',
    '--json': 'r.json',
    '--html': 'r.html',
  }
  const { code, stderr } = await run(
    'report',
    'bad',
    ...Object.entries(forms).flat(),
    '--baseline',
    'good',
  )
  t.equal(code, 0, stderr)
  const text = (name: keyof typeof forms): string =>
    readFileSync(join(folder, forms[name]), 'utf8')
  for (const name of Object.keys(forms) as (keyof typeof forms)[])
    t.match(text(name), 'it hangs', name)
  t.match(text('--html'), /new failures: 1/)
  const again = await run('report', 'r.json', '--reporter', 'tap')
  t.match(again.stdout, /^not ok 1 - plain\/one@kernel$/m)
  const people = await run('report', 'bad/result.json')
  t.match(people.stdout, /^FAIL {4}plain\/one@kernel/)
})

t.test('report: what is no result is said to be none', async t => {
  for (const [name, message] of [
    ['nowhere', /cannot be read/],
    ['cut', /no JSON/],
    ['other', /expected schema 'tdxrig\.result\/3', found none/],
    ['old', /of another version of tdxrig/],
    ['killed', /finish it with tdxrig run --resume/],
    ['.', /there is no result\.json in it/],
  ] as const) {
    const { code, stderr } = await run('report', name)
    t.equal(code, 2, name)
    t.match(stderr, message)
  }
  t.match((await run('report', 'good', '--origin', 'Not One')).stderr, /a-z/)
  t.match(
    (await run('report', 'good', '--html', 'no/such/folder/x')).stderr,
    /cannot write to --html/,
  )
})

t.test('compare: exit code 1 on a new failure alone', async t => {
  t.match(await run('compare', 'good', 'bad'), {
    code: 1,
    stdout: /new failures: 1\n {2}plain\/one@kernel\n {4}it hangs\n/,
  })
  t.match(await run('compare', 'bad', 'good'), { code: 0, stdout: /fixed: 1/ })
  t.match(await run('compare', 'good', 'good'), {
    code: 0,
    stdout: 'nothing changed\n',
  })
  const json = await run('compare', 'good', 'bad', '--json')
  t.match(JSON.parse(json.stdout), {
    schema: 'tdxrig.compare/1',
    newFailures: [{ id: 'plain/one@kernel', verdict: 'fail' }],
  })
})

t.test('history: kept, named, compared, thrown away', async t => {
  t.match(await run('history', 'list'), { stdout: 'the history has no runs\n' })
  t.match(await run('history', 'add', 'good', 'cut'), { code: 2 })
  t.match(
    await run('history', 'list'),
    { stdout: 'the history has no runs\n' },
    'all or none',
  )
  t.match(await run('history', 'add', 'good', 'bad', '--label', 'nightly'), {
    code: 0,
    stdout: /run 1: .*1 pass, 0 fail\nrun 2: /,
  })
  t.match(await run('history', 'baseline', 'v7.3', '1'), { code: 0 })
  t.match(await run('history', 'baseline', '12'), { code: 2 })
  t.match(await run('compare', 'v7.3', 'latest'), { code: 1 })
  t.match(await run('compare', 'v7.4', 'latest'), {
    code: 2,
    stderr: /there are: v7\.3/,
  })
  t.match((await run('history', 'list')).stdout, /nightly.*\[v7\.3\]/)
  t.match((await run('history', 'show', 'latest')).stdout, /^FAIL/)
  t.match((await run('history', 'trend', 'one')).stdout, /2 of 64 TDMRs/)
  t.match(await run('history', 'trend', 'nothing'), { code: 2 })
  t.match((await run('history', 'flaky')).stdout, /no case is flaky/)
  t.match(await run('history', 'prune'), { code: 2 })
  t.match(await run('history', 'prune', '--keep', '1'), {
    stdout: '0 runs were thrown away\n',
  })
})
