import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import { findProgram } from '../base/paths.ts'
import { withDatabase } from '../history/database.ts'
import {
  alarmsOf,
  flakyCases,
  newestRun,
  trends,
} from '../history/statistics.ts'
import { addRun, listRuns, readRun } from '../history/store.ts'
import { resultDocument } from '../report/document.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'
import { readResult } from '../run/result-file.ts'
import { MAIN, row, say } from './bench-tools.ts'

/**
 * The figures of reports, comparison and history. Arguments: the folder of a
 * real run, whose cases are copied until there are enough; a database for the
 * history, by default one of its own.
 */

const CASES = 2000
const NIGHTS = 1000
const NIGHTLY = 200

const [source = 'results/latest', place] = process.argv.slice(2)
const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'tdxrig-bench-'))
process.on('exit', () => {
  rmSync(folder, { recursive: true, force: true })
})

/** Runs it so many times, and says how long that took. */
const timed = async (
  what: string,
  action: () => Promise<unknown>,
  times = 3,
): Promise<void> => {
  const values: number[] = []
  for (let i = 0; i < times; i++) {
    const begin = performance.now()
    await action()
    values.push(performance.now() - begin)
  }
  say(row(what, values, 'ms'))
}

const { file, document } = await readResult(source)

/** Copies of the real cases; every fiftieth of them fails. */
const copies = (count: number, failing: boolean): CaseResult[] =>
  Array.from({ length: count }, (_, i): CaseResult => {
    const result = document.cases[i % document.cases.length]!
    const id = `copy-${i}/${result.id}`
    return failing && i % 50 === 0
      ? {
          ...result,
          id,
          verdict: 'fail',
          reasons: [{ kind: 'fail', check: 'end', message: `copy ${i}` }],
        }
      : { ...result, id }
  })

const night = (started: Date, cases: readonly CaseResult[]): ResultDocument =>
  resultDocument(
    { ...document, started: started.toISOString() },
    { durationMs: 0, interrupted: false },
    cases,
  )

const big = join(file, '..', `bench-${process.pid}.json`)
const before = join(folder, 'before.json')
process.on('exit', () => {
  rmSync(big, { force: true })
})
writeFileSync(big, JSON.stringify(night(new Date(), copies(CASES, true))))
writeFileSync(before, JSON.stringify(night(new Date(0), copies(CASES, false))))

say(`reports of ${CASES} cases, copies of ${document.cases.length} real ones`)
const html = join(folder, 'report.html')
await timed('written, with a baseline', () =>
  run(process.execPath, [
    MAIN,
    'report',
    big,
    '--html',
    html,
    '--baseline',
    before,
  ]),
)
say(row('its size', [statSync(html).size / 1e6], 'MB'))
await timed('compared', () =>
  run(process.execPath, [MAIN, 'compare', before, big]).catch(() => undefined),
)

const executablePath = await findProgram('chromium')
if (executablePath !== undefined) {
  const browser = await chromium.launch({
    executablePath,
    chromiumSandbox: process.getuid?.() !== 0,
  })
  const page = await browser.newPage()
  await timed('shown in Chromium, ready for the keyboard', async () => {
    await page.goto(pathToFileURL(html).href)
    await page.locator('#bar').waitFor()
  })
  const paint = await page.evaluate(
    () => performance.getEntriesByName('first-contentful-paint')[0]?.startTime,
  )
  say(row('first paint', [paint ?? NaN], 'ms'))
  await timed(
    'a case opened',
    async () => {
      await page.keyboard.press('n')
      await page.locator('#case h1').waitFor()
    },
    1,
  )
  await browser.close()
}

say(`a history of ${NIGHTS} nights of ${NIGHTLY} cases`)
await withDatabase(
  place ?? join(folder, 'history'),
  { onWait: () => undefined },
  async db => {
    const cases = copies(NIGHTLY, false)
    let last = 0
    await timed(
      'all nights kept',
      async () => {
        for (let i = 0; i < NIGHTS; i++) {
          const slower = cases.map((result, at) => ({
            ...result,
            timing: {
              totalMs: 1000 + ((i * 7 + at * 13) % 300),
              firstByteMs: 1,
            },
          }))
          const started = new Date(Date.UTC(2024, 0, 1 + i))
          last = (await addRun(db, night(started, slower), 'bench')).id
        }
      },
      1,
    )
    const window = { label: 'bench', runs: 30 }
    await timed('list', () => listRuns(db, { limit: 20 }))
    await timed('show', () => readRun(db, last))
    await timed('flaky, 30 nights', () => flakyCases(db, window))
    await timed('flaky, all', () => flakyCases(db, { ...window, runs: NIGHTS }))
    await timed('trend, 30 nights', async () => {
      const found = await trends(db, window)
      const newest = newestRun(found)
      return found.flatMap(trend => alarmsOf(trend, newest))
    })
    await timed('trend of a case, all', () =>
      trends(db, { ...window, runs: NIGHTS, filter: cases[0]!.id }),
    )
  },
)
