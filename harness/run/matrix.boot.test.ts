import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Parser, type Result } from 'tap-parser'
import { projectRoot } from '../base/paths.ts'
import { type ResultDocument, documentSchema } from '../report/schema.ts'
import { runCli, shortFolder } from '../testing/cli.ts'

const assertsOf = (tap: string): Result[] => {
  const points: Result[] = []
  const parser = new Parser()
  parser.on('assert', (result: Result) => points.push(result))
  parser.end(tap)
  return points
}

/** The whole shipped matrix, booted for real, through the command line. */
const runMatrix = async (
  folder: string,
): Promise<{
  code: number | null
  points: Result[]
  document: ResultDocument
}> => {
  const json = join(folder, 'copy.json')
  const { code, stdout } = await runCli(
    [
      'run',
      join(projectRoot(), 'scenarios'),
      '--accel',
      'tcg',
      '--reporter',
      'tap',
      '--json',
      json,
    ],
    { cwd: folder },
  )
  return {
    code,
    points: assertsOf(stdout),
    document: documentSchema.parse(JSON.parse(readFileSync(json, 'utf8'))),
  }
}

t.test('the shipped matrix passes', async t => {
  const folder = shortFolder(t)
  const { code, points, document } = await runMatrix(folder)
  t.equal(code, 0)
  t.ok(document.cases.length >= 30, `${document.cases.length} cases`)
  t.equal(points.length, document.cases.length, 'a test point for each case')
  for (const result of document.cases) {
    t.equal(result.verdict, 'pass', result.id, { reasons: result.reasons })
    t.ok(points.some(({ ok, name }) => ok && name.includes(result.id)))
  }
  const latest = readFileSync(
    join(folder, 'results', 'latest', 'result.json'),
    'utf8',
  )
  t.same(
    JSON.parse(latest),
    JSON.parse(readFileSync(join(folder, 'copy.json'), 'utf8')),
  )

  t.test('what it shows by itself, without the judge', async t => {
    const byId = (part: string) =>
      document.cases.find(({ id }) => id.includes(part))!
    for (const result of document.cases) {
      if (result.tdx?.outcome === 'initialized') {
        t.same(
          result.regions.memory,
          result.regions.predicted,
          `${result.id}: regions in memory`,
        )
        t.ok(result.tdmrs!.length > 0)
        const names = result.seamcalls.map(({ name }) => name)
        t.equal(names[0], 'TDH.SYS.INIT')
        t.equal(
          names.filter(name => name === 'TDH.SYS.TDMR.INIT').length,
          result.tdmrs!.length,
        )
        t.equal(
          names.filter(name => name === 'TDH.SYS.LP.INIT').length,
          result.machine.cpus,
        )
      }
      const raw = readFileSync(
        join(folder, 'results', 'latest', result.console!),
        'latin1',
      )
      t.ok(raw.includes('Linux version 6.12'), `${result.id}: a real console`)
    }
    t.match(byId('limits/seventeen').tdx, {
      outcome: 'failed',
      stage: 'reserved-areas',
      errno: -28,
    })
    t.match(
      byId('limits/seventeen').tdx?.message,
      'TDMR [0x40000000, 0x80000000): reserved areas exhausted.',
    )
    t.equal(
      Math.max(
        ...byId('limits/sixteen').tdmrs!.map(({ reserved }) => reserved.length),
      ),
      16,
    )
    t.match(byId('limits/memory-outside').seamcalls.at(-1), {
      name: 'TDH.SYS.CONFIG',
      status: '0xc0000a0200000001',
      statusName: 'TDMR_OUTSIDE_CMRS',
    })
    t.equal(byId('limits/module-not-loaded').seamcalls[0]?.status, null)
    t.match(byId('plain/no-srat').regions.memory, [{ node: 0 }, { node: 0 }])
    t.same(
      byId('plain/four-nodes')
        .seamcalls.filter(({ name }) => name === 'TDH.SYS.KEY.CONFIG')
        .map(({ cpu }) => cpu),
      [0, 1, 2, 3],
    )
  })
})
