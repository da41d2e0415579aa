import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Page } from 'playwright-core'
import t from 'tap'
import { reportHtml } from '../cli/html-files.ts'
import { compareRuns } from '../report/compare.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'
import { noBrowser, startBrowser } from '../testing/browser.ts'
import { judgedOutcome } from '../testing/judged.ts'
import { namedCase } from '../testing/records.ts'

/** A report in a real browser. */

const HOSTILE =
  '</script><script>window.broken = 1</script><img src=x onerror="window.broken=1">\u001b[2J'

const item = namedCase(
  {
    machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] },
    cmdline: { memmap: ['64M$0x140000000'] },
  },
  'memmap/hole@kernel',
)
const passed = caseDocument(judgedOutcome(item), () => 'tdxrig run')
/** The kernel ignores the hole that `memmap=` asks for. */
const failed = caseDocument(
  judgedOutcome(item, {
    change: ({ regions }) => ({
      regions: regions!.flatMap((range, i) =>
        i === 2
          ? [{ ...range, end: regions![3]!.end }]
          : i === 3
            ? []
            : [range],
      ),
    }),
  }),
  () => 'tdxrig run',
)

const documentOf = (cases: readonly CaseResult[]): ResultDocument =>
  resultDocument(
    {
      rig: { version: '1', machine: HOSTILE, board: 'q35-10.0' },
      started: '2026-01-01T00:00:00.000Z',
      kernels: [{ name: 'kernel', key: 'abc', release: '7.3.0' }],
    },
    { durationMs: 1000, interrupted: false },
    cases,
  )

const CASES: CaseResult[] = [
  ...Array.from({ length: 40 }, (_, i): CaseResult => ({
    ...passed,
    id: `plain/case-${i}@kernel`,
    console: null,
  })),
  { ...failed, console: 'console.log' },
  {
    ...failed,
    id: HOSTILE,
    reproduce: HOSTILE,
    why: HOSTILE,
    reasons: [{ kind: 'fail', check: 'end', message: HOSTILE, line: 2 }],
    console: 'console.log',
  },
]

const overlapping = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const found: string[] = []
    for (const map of document.querySelectorAll('svg.map')) {
      const texts = [...map.querySelectorAll('.label text')].map(text => ({
        text: text.textContent,
        box: text.getBoundingClientRect(),
      }))
      for (const [i, a] of texts.entries())
        for (const b of texts.slice(i + 1))
          if (
            a.box.left < b.box.right &&
            b.box.left < a.box.right &&
            a.box.top + 1 < b.box.bottom - 1 &&
            b.box.top + 1 < a.box.bottom - 1
          )
            found.push(`${a.text} over ${b.text}`)
    }
    return found
  })

const narrowest = (page: Page): Promise<number> =>
  page.evaluate(() =>
    Math.min(
      ...[...document.querySelectorAll('svg.map .mark rect')].map(
        rect => rect.getBoundingClientRect().width,
      ),
    ),
  )

t.test('a report in Chromium', { skip: noBrowser }, async t => {
  const open = await startBrowser(t)
  const folder = t.testdir({})
  mkdirSync(join(folder, 'run'))
  writeFileSync(
    join(folder, 'run/console.log'),
    `Linux version 7.3.0\n${HOSTILE}\nvirt/tdx: module initialized\n`,
  )
  const report = documentOf(CASES)
  const file = join(folder, 'report.html')
  writeFileSync(
    file,
    await reportHtml(report, {
      folder: join(folder, 'run'),
      baseline: {
        name: 'the night before',
        comparison: compareRuns(
          documentOf(CASES.map(result => ({ ...passed, id: result.id }))),
          report,
        ),
      },
    }),
  )
  const url = pathToFileURL(file).href

  await t.test('says at once what broke which range', async t => {
    const { page, requests, trouble } = await open(url)
    const card = page.locator('.card').first()
    t.match(
      await card.innerText(),
      /TDX regions, not as in the prediction: \[0x140000000, 0x144000000\), 64M, not expected, where memmap=64M\$0x140000000 points/,
    )
    t.match(await page.locator('#changes').innerText(), /new failures: 2/)
    t.same(await overlapping(page), [], 'no label lies over another')
    t.ok((await narrowest(page)) >= 2, 'every range can be seen')
    t.same(requests, [])
    t.same(trouble, [])
    t.equal(await page.evaluate('window.broken'), undefined)
  })

  await t.test('finds a case, and opens it by keyboard alone', async t => {
    const { page, requests, trouble } = await open(url)
    await page.keyboard.press('/')
    await page.keyboard.type('case-17@kernel')
    t.equal(await page.locator('#grid tbody tr:visible').count(), 1)
    t.equal(await page.locator('#found').innerText(), '1 of 42 cases')
    await page.keyboard.press('Escape')
    await page.keyboard.press('n')
    const part = page.locator('#case')
    await part.locator('h1').waitFor()
    t.match(await part.locator('h1').innerText(), /fail memmap\/hole@kernel/)
    t.match(await part.innerText(), /TDH\.SYS\.INIT/, 'SEAMCALLs are named')
    t.match(await part.locator('.console').innerText(), /Linux version 7\.3\.0/)
    await part.locator('svg.map').focus()
    await page.keyboard.press('ArrowRight')
    const mark = part.locator('.mark').first()
    t.ok(
      await mark.locator('.tip').isVisible(),
      'the exact range is there on focus',
    )
    await page.keyboard.press('n')
    await page.locator('a[data-line="2"]').click()
    t.ok(await page.locator('#L2.told').isVisible(), 'a reason has its line')
    t.equal(await page.evaluate('window.broken'), undefined)
    await page.keyboard.press('/')
    await page.keyboard.type('case-3@')
    t.equal(await page.locator('#found').innerText(), '1 of 42 cases')
    t.ok(await page.locator('#overview').isVisible())
    t.same(requests, [])
    t.same(trouble, [])
  })

  await t.test('dark and narrow', async t => {
    const { page } = await open(`${url}#case-40`, { dark: true, width: 390 })
    await page.locator('#case h1').waitFor()
    t.equal(
      await page.evaluate(
        () => getComputedStyle(document.body).backgroundColor,
      ),
      'rgb(13, 17, 23)',
    )
    t.equal(
      await page.evaluate(() => document.documentElement.scrollWidth),
      390,
      'wide parts scroll by themselves',
    )
    t.same(await overlapping(page), [])
  })
})
