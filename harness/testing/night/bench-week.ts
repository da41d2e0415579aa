import { mkdtempSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startPostgres } from '../postgres.ts'
import { FAULTS } from './faults.ts'
import { simulateWeek } from './week.ts'

/**
 * `scripts/bench week`: seven nights with all faults, on a PostgreSQL of its
 * own. Exit code 1 when anything was lost, stored twice, misjudged or untold.
 */

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    nights: { type: 'string', default: '7' },
    hosts: { type: 'string', default: '20' },
    workers: { type: 'string', default: '5' },
    cases: { type: 'string', default: '2000' },
    spread: { type: 'string', default: 'any' },
    boot: { type: 'string', default: '20' },
    away: { type: 'string', default: '60' },
  },
})

const ends: (() => unknown)[] = []
const postgres = await startPostgres({
  teardown: end => {
    ends.push(end as () => unknown)
  },
})
try {
  const checks = await simulateWeek({
    server: { ...postgres, url: await postgres.create('week') },
    folder: mkdtempSync('/tmp/tdxtest-week-'),
    seed: values.seed,
    nights: Number(values.nights),
    hosts: Number(values.hosts),
    workers: Number(values.workers),
    cases: Number(values.cases),
    spread: values.spread === 'each' ? 'each' : 'any',
    bootMs: Number(values.boot),
    awayMs: Number(values.away) * 1000,
    faults: FAULTS,
    onLog: text => {
      process.stdout.write(`${text}\n`)
    },
  })
  const sum = (key: 'lost' | 'twice' | 'wrong' | 'away' | 'untold'): number =>
    checks.reduce((all, check) => all + check[key].length, 0)
  const boots = checks.reduce((all, check) => all + check.boots, 0)
  process.stdout.write(
    `${checks.length} nights, ${boots} boots in ${checks.reduce((all, one) => all + one.seconds, 0)} s: ${sum('lost')} lost, ${sum('twice')} stored twice, ${sum('wrong')} misjudged, ${sum('away')} hosts left in a test boot, ${sum('untold')} faults untold\n`,
  )
  const bad =
    sum('lost') + sum('twice') + sum('wrong') + sum('away') + sum('untold')
  process.exitCode = bad > 0 ? 1 : 0
} finally {
  for (const end of ends) await end()
}
