import fc from 'fast-check'
import colors from 'picocolors'
import t from 'tap'
import { Parser, type Result } from 'tap-parser'
import { judge } from '../judge/judge.ts'
import type { Case } from '../scenario/case.ts'
import { holds } from '../testing/property.ts'
import { bodyOf, perfectRecord } from '../testing/records.ts'
import {
  unjudgedCase,
  judgedCase,
  resultDocument,
  shellQuote,
} from './document.ts'
import { KERNEL } from '../testing/judged.ts'
import { prettyCase, prettySummary } from './pretty.ts'
import { type CaseResult, caseSchema, documentSchema } from './schema.ts'
import { tapHeader, tapPoint } from './tap.ts'

const item: Case = {
  input: { name: 'n', why: 'w', machine: { memory: '4G' } },
  id: 'group/name[x=1]@kernel',
  scenario: 'scenarios/group/name.yaml',
  kernel: 'kernel',
  ...bodyOf({ machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] } }),
}
const { prediction, record } = perfectRecord(item)
const AGAIN = {
  program: './scripts/tdxrig',
  flags: ['--kernel', 'kernel', '--accel', 'tcg'],
}
const passed = judgedCase(
  item,
  judge(item, KERNEL, prediction, record),
  record,
  'cases/x/console.log',
  AGAIN,
)
const broken = unjudgedCase(item, prediction, AGAIN, 'error', 'QEMU is gone')
const failing: CaseResult = {
  ...passed,
  verdict: 'fail',
  reasons: [
    { kind: 'fail', check: 'regions-memory', message: 'region 1 differs' },
  ],
}

const documentOf = (cases: CaseResult[], interrupted = false) =>
  resultDocument(
    {
      rig: { version: '0.1.0', machine: 'QEMU' },
      started: '2026-01-01T00:00:00.000Z',
      durationMs: 60_000,
      interrupted,
      kernels: [],
    },
    cases,
  )

const tapOf = (...cases: CaseResult[]): string =>
  tapHeader(cases.length) +
  cases.map((item, i) => tapPoint(item, i + 1)).join('')

const parse = (tap: string): { points: Result[]; ok: boolean } => {
  const points: Result[] = []
  const parser = new Parser({ strict: true })
  parser.on('assert', (result: Result) => points.push(result))
  parser.end(tap)
  return { points, ok: parser.ok }
}

t.test('the document follows its own schema', async t => {
  const document = documentOf([passed, broken, failing])
  t.same(documentSchema.parse(JSON.parse(JSON.stringify(document))), document)
  t.same(document.summary, { pass: 1, fail: 1, invalid: 0, error: 1, skip: 0 })
  t.match(passed, {
    verdict: 'pass',
    tdx: { outcome: 'initialized', pamtKiB: 16428 },
    regions: {
      basis: 'machine',
      memory: [{ start: '0x100000', end: '0x7ffe0000', node: 0 }, {}, {}],
    },
    seamcalls: [{ name: 'TDH.SYS.INIT', status: '0x0', statusName: 'SUCCESS' }],
    reproduce:
      "./scripts/tdxrig run scenarios/group/name.yaml --filter 'group/name[x=1]@kernel' --kernel kernel --accel tcg",
  })
  t.equal(broken.tdx, null)
  t.same(caseSchema.parse(broken).verdict, 'error')
})

t.test('TAP: a strict parser takes it, with the diagnostics', async t => {
  const { points, ok } = parse(tapOf(passed, failing, broken))
  t.notOk(ok, 'two test points failed')
  t.same(
    points.map(({ ok }) => ok),
    [true, false, false],
  )
  t.match(points[1]?.diag, {
    verdict: 'fail',
    reasons: [{ check: 'regions-memory', message: 'region 1 differs' }],
  })
  t.ok(parse(tapOf(passed)).ok)
  const skipped = tapPoint(
    {
      ...passed,
      verdict: 'skip',
      reasons: [{ kind: 'error', check: 'host', message: 'no host # here' }],
    },
    1,
  )
  t.match(parse(`TAP version 14\n1..1\n${skipped}`).points, [
    { ok: true, skip: 'no host # here' },
  ])
})

t.test('TAP: no text of a console breaks it', async t => {
  holds(
    t,
    'one failing point, whatever it says',
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.constantFrom(
          '...',
          '\n  ...\nok 2',
          '---',
          'x # SKIP y',
          '\0\u001b[31m',
          '1..5',
        ),
      ),
      text => {
        const hostile = {
          ...failing,
          id: text,
          reasons: [{ ...failing.reasons[0]!, message: text }],
        }
        const { points } = parse(
          `TAP version 14\n1..1\n${tapPoint(hostile, 1)}`,
        )
        return (
          points.length === 1 &&
          !points[0]!.ok &&
          !points[0]!.skip &&
          typeof points[0]!.diag === 'object'
        )
      },
    ),
    2_000,
  )
})

t.test('text for people', async t => {
  const plain = colors.createColors(false)
  t.match(
    prettyCase(passed, 'out', plain),
    /^pass {4}group\/name\[x=1\]@kernel {2}initialized, 3 regions, 0.60 s$/,
  )
  t.match(
    prettyCase(failing, 'out', plain),
    /^FAIL {4}.*\n {10}region 1 differs\n {10}console: out\/cases\/x\/console.log\n {10}again: /,
  )
  t.match(
    prettySummary(documentOf([passed, failing, broken]), plain),
    '3 cases: 1 pass, 1 fail, 1 error in 60.00 s (3 a minute)',
  )
})

t.test('shell words', async t => {
  t.equal(shellQuote('a/b.yaml'), 'a/b.yaml')
  t.equal(shellQuote("it's $x"), `'it'\\''s $x'`)
})
