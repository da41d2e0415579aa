import { XMLParser } from 'fast-xml-parser'
import { SyntaxValidator } from 'fast-xml-validator'
import fc from 'fast-check'
import t from 'tap'
import { judgedOutcome } from '../../testing/judged.ts'
import { holds } from '../../testing/property.ts'
import { namedCase } from '../../testing/records.ts'
import { caseDocument, resultDocument } from '../document.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'
import { annotation, annotations, stepSummary } from './github.ts'
import { junit } from './junit.ts'
import { kcidb } from './kcidb.ts'
import { kcidbSchema } from './kcidb-schema.ts'
import { markdown } from './markdown.ts'

const item = namedCase(
  {
    why: 'a hole splits the region',
    machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] },
    cmdline: { memmap: ['64M$0x140000000'] },
  },
  'memmap/hole[x=1]@kernel',
)
const passed = caseDocument(judgedOutcome(item), () => 'tdxrig run x')
const failed = caseDocument(
  judgedOutcome(item, {
    change: ({ regions }) => ({ regions: regions!.slice(0, -1) }),
  }),
  () => `tdxrig run ${'scenarios/memmap/hole.yaml '.repeat(4)}--accel tcg`,
)

const unbooted = (verdict: 'error' | 'skip', message: string): CaseResult => ({
  ...passed,
  verdict,
  reasons: [{ kind: verdict, check: 'machine', message }],
  end: null,
  tdx: null,
})

const documentOf = (cases: readonly CaseResult[]): ResultDocument =>
  resultDocument(
    {
      rig: { version: '0.1.0', machine: 'QEMU with TCG', board: 'q35-10.0' },
      started: '2026-01-01T00:00:00.000Z',
      kernels: [{ name: 'kernel', key: 'abcdef', release: '7.3.0' }],
    },
    { durationMs: 1234, interrupted: false },
    cases,
  )

const DOCUMENT = documentOf([
  passed,
  failed,
  unbooted('error', 'QEMU is gone'),
  unbooted('skip', 'no trigger'),
])

/** A failing case whose console and files are called as somebody likes. */
const hostileCase = (text: string): CaseResult => ({
  ...failed,
  id: text,
  scenario: text,
  kernel: text,
  console: text,
  reproduce: text,
  reasons: [{ kind: 'fail', check: 'end', message: text }],
})

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    ']]>',
    '</failure><x>&amp;"\'',
    '\0\u0007\ufffe\ud800',
    '::error::x',
    '\n::stop-commands::x',
    '| a | `b` <img src=x onerror=alert(1)>',
    'a\u2028b',
  ),
)

const parseXml = (xml: string): unknown =>
  new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '' }).parse(xml)

t.test('JUnit: an independent parser finds every case', async t => {
  const xml = junit(DOCUMENT)
  t.throws(() => SyntaxValidator.validate('<a></b>'), 'the validator does')
  t.doesNotThrow(() => SyntaxValidator.validate(xml))
  t.match(parseXml(xml), {
    testsuites: {
      tests: '4',
      failures: '1',
      errors: '1',
      skipped: '1',
      time: '1.234',
      testsuite: {
        name: 'kernel',
        testcase: [
          { classname: 'memmap.hole', name: 'memmap/hole[x=1]@kernel' },
          {
            failure: { type: 'fail', message: /region 3 differs/ },
            'system-out': /again: tdxrig run/,
          },
          { error: { message: 'QEMU is gone', type: 'machine' } },
          { skipped: { message: 'no trigger' } },
        ],
      },
    },
  })
  holds(
    t,
    'no text of a console breaks it',
    fc.property(hostile, text => {
      const made = junit(documentOf([hostileCase(text)]))
      // It throws where the XML is none.
      SyntaxValidator.validate(made)
      // eslint-disable-next-line no-control-regex -- XML cannot hold them
      return !/[\0-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(made)
    }),
    1000,
  )
  // It does not look at references.
  for (const text of ['&#0;', '&#65;', '&x;', '&amp;', '&', '&#x41;&lt;']) {
    const made = junit(documentOf([hostileCase(text)]))
    t.hasStrict(parseXml(made), {
      testsuites: {
        testsuite: { testcase: { name: text, failure: { message: text } } },
      },
    })
    t.notMatch(made.replaceAll('&amp;', ''), /&(?!lt;|gt;|quot;)/)
  }
})

t.test('KCIDB: the report follows its rules', async t => {
  const report = kcidbSchema.parse(JSON.parse(kcidb(DOCUMENT, { origin: 'x' })))
  t.same(
    report.tests.map(({ status, path }) => [status, path]),
    [
      ['PASS', 'tdxrig.memmap.hole'],
      ['FAIL', 'tdxrig.memmap.hole'],
      ['MISS', 'tdxrig.memmap.hole'],
      ['SKIP', 'tdxrig.memmap.hole'],
    ],
  )
  t.match(report.builds, [{ id: 'x:build-abcdef', config_name: 'kernel' }])
  t.equal(kcidb(DOCUMENT, { origin: 'x' }), kcidb(DOCUMENT, { origin: 'x' }))
  holds(
    t,
    'whatever a console says',
    fc.property(
      hostile,
      text =>
        kcidbSchema.safeParse(
          JSON.parse(kcidb(documentOf([hostileCase(text)]), { origin: 'x' })),
        ).success,
    ),
    1000,
  )
})

t.test('Markdown: a mail of 72 columns', async t => {
  const text = markdown(DOCUMENT)
  t.match(text, /^tdxrig: 1 pass, 1 fail, 1 error, 1 skip\n=+\n/)
  t.match(text, /Why it is tested: a hole splits the region/)
  t.match(text, /TDX regions, built/)
  t.match(text, / {4}tdxrig run .* \\\n {6}/, 'a shell takes it in two lines')
  holds(
    t,
    'lines',
    fc.property(hostile, name =>
      markdown(documentOf([hostileCase(name), failed]))
        .split('\n')
        .every(
          line =>
            (line.length <= 72 || !/\S \S/.test(line.trim().slice(2))) &&
            !/(?!\t)\p{Cc}/u.test(line),
        ),
    ),
    1000,
  )
})

t.test('GitHub: one command for each case, whatever it says', async t => {
  t.equal(annotation(passed), '')
  t.match(
    annotation(failed),
    /^::error file=scenarios\/group\/name.yaml,title=fail%3A memmap\/hole\[x=1\]@kernel::TDX memory regions/,
  )
  t.equal(annotations(DOCUMENT).match(/^::/gm)?.length, 3)
  holds(
    t,
    'one line',
    fc.property(hostile, text => {
      const line = annotation(hostileCase(text))
      return line.startsWith('::error ') && /^[^\r\n]*\n$/.test(line)
    }),
    1000,
  )
  const summary = stepSummary(documentOf([hostileCase('<img src=x>|`x`')]))
  t.notMatch(summary, /<img/)
  t.match(summary, /❌ fail/)
  t.ok(
    stepSummary(documentOf(Array<CaseResult>(3000).fill(failed))).length <
      1024 * 1024,
  )
})
