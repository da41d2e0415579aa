import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { caseDocument } from '../report/document.ts'
import type { RunHead } from '../report/reporter.ts'
import { type CaseResult, documentSchema } from '../report/schema.ts'
import { reproduceWith } from '../report/shell.ts'
import type { Case } from '../scenario/case.ts'
import { judgedOutcome } from '../testing/judged.ts'
import { namedCase } from '../testing/records.ts'
import { documentReporter, fingerprint, readJournal } from './journal.ts'

const HEAD: RunHead = {
  rig: { version: '1', machine: 'a stand-in', board: 'q35-10.0' },
  started: '2026-01-01T00:00:00.000Z',
  kernels: [{ name: 'kernel', key: 'abc', release: null }],
  cases: 2,
}
const REQUEST = {
  paths: ['s'],
  kernels: [],
  kernelBuilds: [],
  filter: ['x'],
  accel: 'tcg' as const,
  hosts: [],
  inventory: null,
  repeat: 1,
  retries: 0,
  stopAtOutcome: false,
  shortcuts: true,
}
const CASES = ['a/one@kernel', 'a/two@kernel'].map(id => namedCase({}, id))
const FINGERPRINTS = Object.fromEntries(
  CASES.map(item => [item.id, fingerprint(item, '1')]),
)

const reporterIn = (folder: string) =>
  documentReporter(
    {
      journal: join(folder, 'journal.jsonl'),
      documents: [
        { path: join(folder, 'result.json'), render: JSON.stringify },
      ],
    },
    { request: REQUEST, fingerprints: FINGERPRINTS, before: [] },
  )

const resultOf = (item: Case): CaseResult =>
  caseDocument(judgedOutcome(item), reproduceWith('tdxrig', []))

t.test('what is finished is on disk, whatever comes next', async t => {
  const folder = t.testdir({})
  const path = join(folder, 'journal.jsonl')
  const reporter = reporterIn(folder)
  await reporter.start(HEAD)
  t.same((await readJournal(path)).cases, [], 'nothing is finished yet')
  await reporter.case(resultOf(CASES[0]!))
  const one = await readJournal(path)
  t.match(one.head, {
    board: 'q35-10.0',
    kernels: { kernel: 'abc' },
    cases: FINGERPRINTS,
    request: REQUEST,
  })
  t.match(one.cases, [{ id: 'a/one@kernel', verdict: 'pass' }])
  await reporter.case(resultOf(CASES[1]!))
  const whole = readFileSync(path)
  const firstEnd = whole.indexOf('\n', whole.indexOf('\n') + 1) + 1
  // Killed in the middle of the last line, wherever that was.
  for (let end = firstEnd; end < whole.length; end += 97) {
    writeFileSync(path, whole.subarray(0, end))
    t.same((await readJournal(path)).cases, one.cases, `${end} bytes`)
  }
  writeFileSync(path, whole)
  t.equal((await readJournal(path)).cases.length, 2)
  await reporter.end({
    durationMs: 1,
    interrupted: false,
    resumed: 0,
    verdicts: ['pass', 'pass'],
  })
  const document = documentSchema.parse(
    JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8')),
  )
  t.same(document.cases, (await readJournal(path)).cases)
})

t.test('a run that goes on keeps what it has', async t => {
  const folder = t.testdir({})
  const path = join(folder, 'journal.jsonl')
  const first = reporterIn(folder)
  await first.start(HEAD)
  await first.case(resultOf(CASES[0]!))
  const { cases } = await readJournal(path)
  const second = documentReporter(
    { journal: path, documents: [] },
    { request: REQUEST, fingerprints: FINGERPRINTS, before: cases },
  )
  await second.start(HEAD)
  await second.case(resultOf(CASES[1]!))
  t.same(
    (await readJournal(path)).cases.map(({ id }) => id),
    CASES.map(({ id }) => id),
  )
})

t.test('what is no journal is said to be none', async t => {
  const folder = t.testdir({ empty: '', other: '{}\n', binary: '\0\0\n\n' })
  for (const name of ['empty', 'other', 'binary', 'none', '.'])
    await t.rejects(
      readJournal(join(folder, name)),
      { code: 'JOURNAL', exitCode: 2 },
      name,
    )
  const path = join(folder, 'journal.jsonl')
  await reporterIn(folder).start(HEAD)
  appendFileSync(path, 'a line of somebody else\n')
  await t.rejects(readJournal(path), /line 2 is not a journal line/)
})

t.test('a scenario that changed has another fingerprint', async t => {
  const [one] = CASES
  t.equal(fingerprint(one!, '1'), fingerprint(namedCase({}), '1'))
  t.not(fingerprint(one!, '1'), fingerprint(one!, '2'))
  for (const change of [
    { expect: { tdx: 'failed' } },
    { cmdline: { memmap: ['4K$1G'] } },
    { machine: { memory: '3G' } },
  ])
    t.not(fingerprint(one!, '1'), fingerprint(namedCase(change), '1'))
})
