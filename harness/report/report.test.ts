import fc from 'fast-check'
import colors from 'picocolors'
import t from 'tap'
import { Parser, type Result } from 'tap-parser'
import {
  type CaseOutcome,
  type UnjudgedOutcome,
  verdictOf,
} from '../judge/case-outcome.ts'
import { judgedOutcome } from '../testing/judged.ts'
import { holds } from '../testing/property.ts'
import { namedCase } from '../testing/records.ts'
import { caseDocument, resultDocument } from './document.ts'
import { prettyCase, prettySummary } from './pretty.ts'
import {
  type Reporter,
  type RunEnd,
  type RunHead,
  tellAll,
} from './reporter.ts'
import { type CaseResult, documentSchema } from './schema.ts'
import { shellQuote } from '../base/shell.ts'
import { reproduceWith } from './shell.ts'
import { tapReporter } from './tap.ts'

const item = namedCase(
  { machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] } },
  'group/name[x=1]@kernel',
)
const reproduce = reproduceWith('./scripts/tdxrig', ['--accel', 'tcg'])
const passed = judgedOutcome(item)
const failing = judgedOutcome(item, {
  change: ({ regions }) => ({ regions: regions!.slice(0, -1) }),
})
const unjudged = (
  kind: UnjudgedOutcome['kind'],
  message: string,
): UnjudgedOutcome => {
  const { kernel, prediction } = passed
  return { kind, message, item, kernel, prediction }
}
const broken = unjudged('error', 'QEMU is gone')
const skipped = unjudged('skip', 'no trigger # here')

const HEAD: RunHead = {
  rig: { version: '0.1.0', machine: 'QEMU', board: 'q35-10.0' },
  started: '2026-01-01T00:00:00.000Z',
  kernels: [],
  cases: 4,
}
const endOf = (outcomes: readonly CaseOutcome[]): RunEnd => ({
  durationMs: 60_000,
  interrupted: false,
  resumed: 0,
  verdicts: outcomes.map(verdictOf),
})

/** What a reporter prints of a run. */
const printed = async (
  make: (write: (text: string) => void) => Reporter,
  outcomes: readonly CaseOutcome[],
): Promise<string> => {
  let text = ''
  const reporter = make(more => (text += more))
  await reporter.start({ ...HEAD, cases: outcomes.length })
  for (const outcome of outcomes)
    await reporter.case(caseDocument(outcome, reproduce))
  await reporter.end(endOf(outcomes))
  return text
}

const tapOf = (...outcomes: CaseOutcome[]): Promise<string> =>
  printed(write => tapReporter(write), outcomes)

const parse = (tap: string): { points: Result[]; ok: boolean } => {
  const points: Result[] = []
  const parser = new Parser({ strict: true })
  parser.on('assert', (result: Result) => points.push(result))
  parser.end(tap)
  return { points, ok: parser.ok }
}

t.test('the document follows its own schema', async t => {
  const outcomes = [passed, broken, failing, skipped]
  const document = resultDocument(
    HEAD,
    endOf(outcomes),
    outcomes.map(outcome => caseDocument(outcome, reproduce)),
  )
  t.same(documentSchema.parse(JSON.parse(JSON.stringify(document))), document)
  t.same(document.summary, { pass: 1, fail: 1, invalid: 0, error: 1, skip: 1 })
  const [first, error, second, skip] = document.cases
  t.match(first, {
    verdict: 'pass',
    machine: { board: 'q35-7.2' },
    tdx: { outcome: 'initialized', pamtKiB: 16428 },
    regions: {
      basis: 'machine',
      memory: [{ start: '0x100000', end: '0x7ffe0000', node: 0 }, {}, {}],
    },
    seamcalls: [{ name: 'TDH.SYS.INIT', status: '0x0', statusName: 'SUCCESS' }],
    witnesses: ['console', 'memory', 'module', 'steps'],
    unobserved: [],
    reproduce:
      "./scripts/tdxrig run scenarios/group/name.yaml --filter 'group/name[x=1]@kernel' --kernel kernel --accel tcg",
  })
  t.match(second, {
    verdict: 'fail',
    reasons: [{ kind: 'fail', check: 'regions-memory', message: String }],
  })
  t.match(error, {
    verdict: 'error',
    tdx: null,
    seamcalls: null,
    reasons: [{ kind: 'error', check: 'machine', message: 'QEMU is gone' }],
  })
  t.match(skip, {
    verdict: 'skip',
    reasons: [{ kind: 'skip', check: 'kernel', message: 'no trigger # here' }],
  })
})

t.test('what nobody saw is null, and named', async t => {
  const document = caseDocument(
    judgedOutcome(item, { without: ['memory', 'module'] }),
    reproduce,
  )
  t.equal(document.verdict, 'pass')
  t.equal(document.seamcalls, null)
  t.equal(document.tdmrs, null)
  t.equal(document.regions.memory, null)
  t.same(document.witnesses, ['console', 'steps'])
  t.match(document.unobserved, [{ check: String, missing: [String] }])
})

t.test('TAP: a strict parser takes it, with the diagnostics', async t => {
  const { points, ok } = parse(await tapOf(passed, failing, broken, skipped))
  t.notOk(ok, 'two test points failed')
  t.same(
    points.map(({ ok }) => ok),
    [true, false, false, true],
  )
  t.match(points[1]?.diag, {
    verdict: 'fail',
    reasons: [{ check: 'regions-memory', message: /3 expected, 2 found/ }],
  })
  t.equal(points[3]?.skip, 'no trigger # here')
  t.ok(parse(await tapOf(passed)).ok)
})

t.test('TAP: no text of a console breaks it', async t => {
  const texts = fc.sample(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        '...',
        '\n  ...\nok 2',
        '---',
        'x # SKIP y',
        '\0\u001b[31m',
        '1..5',
        '\u007f\u0085\u061c\u202d\u2066\u2028',
      ),
    ),
    2_000,
  )
  const hostile = texts.map(text => ({
    ...unjudged('error', text),
    item: { ...item, id: text },
  }))
  const { points } = parse(await tapOf(...hostile))
  t.equal(points.length, hostile.length, 'a point for each')
  t.same(
    points.filter(({ ok, skip, diag }) => ok || skip || !diag),
    [],
    'each failed, with a diagnostic',
  )
  t.match(
    points.map(({ diag }) => diag as object),
    texts.map(message => ({ reasons: [{ message }] })),
    'which gives the text back as it was',
  )
})

const result = (outcome: CaseOutcome): CaseResult =>
  caseDocument(outcome, reproduce)

t.test('text for people', async t => {
  const plain = {
    screen: {
      columns: 80,
      ascii: false,
      colors: colors.createColors(false),
    },
    folder: 'out',
  }
  t.match(
    prettyCase(result(passed), plain),
    /^pass {4}group\/name\[x=1\]@kernel {2}initialized, 3 regions, 0.60 s$/,
  )
  t.match(
    prettyCase(result(failing), plain),
    /^FAIL {4}.*\n {10}.*3 expected, 2 found.*\n {10}console: out\/cases\/x\/console.log\n {10}again: /,
  )
  t.match(prettyCase(result(skipped), plain), /^skip {4}.*no trigger # here$/)
  t.match(
    prettyCase(
      result(judgedOutcome(item, { without: ['memory', 'module'] })),
      plain,
    ),
    /^pass .*initialized, 2 of 4 witnesses, 0.60 s$/,
  )
  t.match(
    prettySummary(HEAD, endOf([passed, failing, broken]), plain.screen.colors),
    '3 cases: 1 pass, 1 fail, 1 error in 60.00 s (3 a minute)',
  )
  t.match(
    prettySummary(
      HEAD,
      { ...endOf([passed, passed, passed]), resumed: 1 },
      plain.screen.colors,
    ),
    '3 cases: 3 pass, 0 fail in 60.00 s (2 a minute), 1 of them from the resumed run',
  )
})

t.test('a reporter that fails does not silence the others', async t => {
  const told: string[] = []
  const full: Reporter = {
    start: () => undefined,
    case: () => Promise.reject(new Error('no space left')),
    end: () => void told.push('end of the other'),
  }
  const good: Reporter = {
    start: () => void told.push('start'),
    case: () => void told.push('case'),
    end: () => void told.push('end'),
  }
  const all = tellAll([full, good])
  await all.start(HEAD)
  await all.case(result(passed))
  await all.case(result(passed))
  await t.rejects(async () => all.end(endOf([passed, passed])), /no space/)
  t.same(told, ['start', 'case', 'case', 'end of the other', 'end'])
  const broken = { ...good, start: () => Promise.reject(new Error('full')) }
  await t.rejects(
    async () => tellAll([broken, good]).start(HEAD),
    /full/,
    'nothing is booted for nothing',
  )
})

t.test('shell words', async t => {
  t.equal(shellQuote('a/b.yaml'), 'a/b.yaml')
  t.equal(shellQuote("it's $x"), `'it'\\''s $x'`)
  holds(
    t,
    'a word without quotes has nothing that a shell reads',
    fc.property(
      fc.string(),
      text => shellQuote(text) !== text || /^[\w@%+=:,./-]+$/.test(text),
    ),
  )
})
