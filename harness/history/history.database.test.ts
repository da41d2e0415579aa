import { join } from 'node:path'
import t from 'tap'
import { caseDocument, resultDocument } from '../report/document.ts'
import { compareRuns } from '../report/compare.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'
import { judgedOutcome } from '../testing/judged.ts'
import { hasPostgres, startPostgres } from '../testing/postgres.ts'
import { namedCase } from '../testing/records.ts'
import { type HistoryDatabase, withDatabase } from './database.ts'
import { alarmsOf, flakyCases, newestRun, trends } from './statistics.ts'
import {
  addRun,
  baselineRun,
  listRuns,
  prune,
  readRun,
  setBaseline,
} from './store.ts'

/** The same on both databases: PGlite, and PostgreSQL where it is installed. */

const item = namedCase({ machine: { memory: '4G' } }, 'plain/one@kernel')
const passed = caseDocument(judgedOutcome(item), () => 'tdxrig run')
const other: CaseResult = { ...passed, id: 'plain/two@kernel' }
const failing: CaseResult = {
  ...other,
  verdict: 'fail',
  reasons: [{ kind: 'fail', check: 'end', message: 'it hangs' }],
  attempts: [{ verdict: 'fail', totalMs: 600 }],
}

const night = (number: number, cases: readonly CaseResult[]): ResultDocument =>
  resultDocument(
    {
      rig: { version: '1', machine: 'QEMU', board: 'q35-10.0' },
      started: new Date(Date.UTC(2026, 0, number)).toISOString(),
      kernels: [{ name: 'kernel', key: 'abc', release: null }],
    },
    { durationMs: 1000, interrupted: false },
    cases,
  )

const quiet = { onWait: () => undefined }

const contract = (
  name: string,
  at: (action: (db: HistoryDatabase) => Promise<void>) => Promise<void>,
): void => {
  t.test(`${name}: a run comes back as it was`, async t => {
    await at(async db => {
      const document = night(1, [passed, failing])
      const { id } = await addRun(db, document, 'nightly')
      t.same(
        await addRun(db, document, 'other'),
        { id, label: 'nightly' },
        'kept once',
      )
      await t.rejects(addRun(db, night(2, [passed, passed]), 'x'), {
        code: 'HISTORY',
      })
      const back = await readRun(db, id)
      t.same(back, {
        ...document,
        cases: document.cases.map(result => ({
          ...result,
          argv: [],
          console: null,
        })),
      })
      t.match(await listRuns(db, { limit: 5 }), [
        { id, label: 'nightly', summary: { pass: 1, fail: 1 }, baselines: [] },
      ])
      await t.rejects(readRun(db, 4711), { code: 'NO_RUN', exitCode: 2 })
    })
  })

  t.test(`${name}: what is the same is kept once`, async t => {
    await at(async db => {
      for (let i = 1; i <= 4; i++)
        await addRun(
          db,
          night(i, [
            { ...passed, timing: { ...passed.timing, totalMs: 500 + i } },
          ]),
          'nightly',
        )
      const { count } = await db
        .selectFrom('details')
        .select(db.fn.countAll<string>().as('count'))
        .executeTakeFirstOrThrow()
      t.equal(Number(count), 1)
    })
  })

  t.test(`${name}: baselines, and what is pruned`, async t => {
    await at(async db => {
      const runs: number[] = []
      for (let i = 1; i <= 5; i++)
        runs.push((await addRun(db, night(i, [passed, other]), 'nightly')).id)
      const { id: release } = await addRun(db, night(9, [other]), 'release')
      await setBaseline(db, 'v7.3', runs[0]!)
      t.equal(await baselineRun(db, 'v7.3'), runs[0])
      await t.rejects(baselineRun(db, 'v7.4'), /there are: v7\.3/)
      await t.rejects(setBaseline(db, 'x', 4711), { code: 'NO_RUN' })
      t.equal(await prune(db, {}), 0, 'no rule, nothing goes')
      t.equal(await prune(db, { keep: 2, age: 10 ** 9 }), 0, 'both rules')
      t.equal(await prune(db, { keep: 2 }), 2, 'the baseline stays')
      t.same(
        (await listRuns(db, { limit: 9 })).map(({ id }) => id),
        [release, runs[4], runs[3], runs[0]],
      )
      t.same((await listRuns(db, { limit: 9, label: 'release' })).length, 1)
      await setBaseline(db, 'v7.3', release)
      t.equal(await prune(db, { age: 1 }), 3)
      const { count } = await db
        .selectFrom('details')
        .select(db.fn.countAll<string>().as('count'))
        .executeTakeFirstOrThrow()
      t.equal(Number(count), 1, 'what nobody refers to is gone')
    })
  })

  t.test(`${name}: a flake is no regression`, async t => {
    await at(async db => {
      const regressed: CaseResult = { ...failing, id: 'plain/three@kernel' }
      const mixed: CaseResult = {
        ...passed,
        id: 'plain/four@kernel',
        attempts: [
          { verdict: 'fail', totalMs: 1 },
          { verdict: 'pass', totalMs: 1 },
        ],
      }
      for (let i = 1; i <= 6; i++)
        await addRun(
          db,
          night(i, [
            passed,
            i % 2 === 0 ? failing : other,
            i > 3 ? regressed : { ...other, id: regressed.id },
            i === 2 ? mixed : { ...passed, id: mixed.id },
          ]),
          'nightly',
        )
      t.same(await flakyCases(db, { label: 'nightly', runs: 30 }), [
        { id: 'plain/two@kernel', boots: 6, failed: 3, flips: 5, mixed: 0 },
        { id: 'plain/four@kernel', boots: 7, failed: 1, flips: 0, mixed: 1 },
      ])
      t.same(await flakyCases(db, { label: 'other', runs: 30 }), [])
    })
  })

  t.test(`${name}: a boot that takes long is told`, async t => {
    await at(async db => {
      for (let i = 1; i <= 8; i++)
        await addRun(
          db,
          night(i, [
            {
              ...passed,
              timing: { totalMs: i === 8 ? 5000 : 500 + i, firstByteMs: null },
            },
            other,
          ]),
          'nightly',
        )
      const [one, two] = await trends(db, { runs: 30 })
      t.equal(one!.points.length, 8)
      t.match(alarmsOf(one!, newestRun([one!, two!])), [
        { id: 'plain/one@kernel', kind: 'time', message: /^5\.00 s, usual/ },
      ])
      t.same(alarmsOf(two!, newestRun([one!, two!])), [])
      t.equal((await trends(db, { runs: 30, filter: 'two' })).length, 1)
    })
  })
}

t.test('what is closer to a limit is told', async t => {
  const point = {
    run: 1,
    started: '',
    verdict: 'pass' as const,
    totalMs: 0,
    tdmrs: 3,
    tdmrsMax: 64,
    areas: 4,
    areasMax: 16,
    pamtKiB: 1,
  }
  const before = Array<typeof point>(5).fill(point)
  t.same(alarmsOf({ id: 'x', points: [...before, point] }, 1), [])
  t.same(
    alarmsOf({ id: 'x', points: [...before, { ...point, areas: 15 }] }, 2),
    [],
    'a case that is gone',
  )
  t.match(
    alarmsOf({ id: 'x', points: [...before, { ...point, areas: 15 }] }, 1),
    [
      {
        kind: 'headroom',
        message: '15 of 16 reserved areas, at most 4 before',
      },
    ],
  )
})

t.test('two runs, compared', async t => {
  const gone = { ...passed, id: 'plain/gone@kernel' }
  const added = { ...failing, id: 'plain/added@kernel' }
  const shorter: CaseResult = {
    ...passed,
    regions: {
      ...passed.regions,
      memory: passed.regions.memory!.slice(0, -1),
    },
  }
  const broken: CaseResult = { ...gone, id: 'plain/broken@kernel' }
  const found = compareRuns(
    night(1, [passed, other, gone, broken]),
    night(2, [shorter, failing, added, { ...broken, verdict: 'error' }]),
  )
  const ids = (list: readonly { readonly id: string }[]): string[] =>
    list.map(({ id }) => id)
  t.same(ids(found.newFailures), [failing.id, added.id])
  t.same(ids(found.fixed), [])
  t.same(ids(found.added), [added.id])
  t.same(ids(found.gone), [gone.id])
  t.same(ids(found.unjudged), [broken.id])
  t.match(found.regions, [
    { id: passed.id, ranges: [{ start: 0x100000000, end: 0x180000000 }] },
  ])
  const back = compareRuns(night(1, [failing]), night(2, [other]))
  t.same(ids(back.fixed), [other.id])
  t.same(
    ids(compareRuns(night(1, [failing]), night(2, [failing])).stillFailing),
    [failing.id],
  )
})

contract('PGlite', async action => {
  const folder = t.testdir({})
  await withDatabase(join(folder, 'history'), quiet, action)
})

t.test('PGlite: two processes wait for each other', async t => {
  const place = join(t.testdir({}), 'history')
  await Promise.all(
    [1, 2, 3].map(number =>
      withDatabase(place, quiet, db =>
        addRun(db, night(number, [passed]), 'x'),
      ),
    ),
  )
  await withDatabase(place, quiet, async db => {
    t.equal((await listRuns(db, { limit: 9 })).length, 3)
  })
})

t.test('places that cannot be used', async t => {
  const folder = t.testdir({ file: 'text', other: { a: 'text' } })
  const use = (place: string): Promise<void> =>
    withDatabase(place, quiet, () => Promise.resolve())
  await t.rejects(use(join(folder, 'file')), { code: 'OUTPUT' })
  await t.rejects(use(join(folder, 'other')), { code: 'DATABASE' })
  await t.rejects(use('postgres://nobody:secret@127.0.0.1:1/none'), {
    code: 'DATABASE',
    message: /nobody:\.\.\.@/,
  })
})

if (!hasPostgres())
  t.test('PostgreSQL', { skip: 'it is not installed' }, async () => undefined)
else {
  const { create } = await startPostgres(t)
  let number = 0
  contract('PostgreSQL', async action => {
    await withDatabase(await create(`history${number++}`), quiet, action)
  })
  t.test('PostgreSQL: several processes come at once', async t => {
    const place = await create('shared')
    await Promise.all(
      [1, 2, 3, 4].map(at =>
        withDatabase(place, quiet, async db => {
          // In another order each: who writes waits for the others.
          const cases = at % 2 === 0 ? [passed, other] : [other, passed]
          await addRun(db, night(at, cases), 'x')
          await prune(db, { keep: 9 })
        }),
      ),
    )
    await withDatabase(place, quiet, async db => {
      t.equal((await listRuns(db, { limit: 9 })).length, 4)
    })
  })
}
