import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { InfraError } from '../base/errors.ts'
import { builtRecipes } from '../kernel/recipe.ts'
import { compareRuns } from '../report/compare.ts'
import { shortFolder } from '../testing/cli.ts'
import { FAULTS } from '../testing/night/faults.ts'
import { PLAN, type Script, cell, staged } from '../testing/night/stage.ts'
import { simulateWeek } from '../testing/night/week.ts'
import { hasPostgres, startPostgres } from '../testing/postgres.ts'
import { finishAttempt, queueAttempts } from './attempts.ts'
import { type NightPlace, withNights } from './database.ts'
import {
  type MorningContext,
  morningText,
  newFailures,
  nightExitCode,
} from './morning-text.ts'
import { morningMail } from './morning-mail.ts'
import { nightResult } from './morning.ts'
import {
  choosingNight,
  createNight,
  endNight,
  keepPlan,
  leadNight,
  listNights,
  nightAt,
  pruneNights,
  takeNight,
} from './nights.ts'
import { statusOf } from './status.ts'

/** The same on both databases; machines are scripted. */

const quiet = { onWait: () => undefined, connections: 16 }
const options = { version: 'test', reproduce: () => 'tdxrig run x' }

const resultOf = async ({ db }: NightPlace, night: number) =>
  nightResult(db, await nightAt(db, night), options)

const contract = (
  name: string,
  at: (action: (place: NightPlace) => Promise<void>) => Promise<void>,
): void => {
  t.test(`${name}: a night, and what the morning says of it`, async t => {
    await at(async place => {
      const script: Script = {
        bad: ['fail', 'fail', 'fail'],
        flaky: ['fail', 'pass', 'pass'],
        ill: ['error', 'pass'],
        broken: ['error', 'error'],
        odd: ['invalid', 'invalid', 'invalid'],
        skipped: ['skip'],
      }
      const cells = [
        ...Object.keys(script).map(id => cell(id)),
        cell('good', { repeat: 2 }),
        cell('unsuited', { places: [], note: 'no host has 3 nodes' }),
      ]
      await staged(
        t,
        place,
        { workers: ['a', 'b'], script, cells },
        async ({ night, lead }) => {
          await lead()
          const result = await resultOf(place, night)
          const classes = Object.fromEntries(
            result.cells.map(({ id, class: is }) => [id, is]),
          )
          t.same(classes, {
            bad: 'fail',
            flaky: 'flaky',
            ill: 'pass',
            broken: 'error',
            odd: 'invalid',
            skipped: 'skip',
            good: 'pass',
            unsuited: 'skip',
          })
          const of = (id: string) => result.cells.find(one => one.id === id)!
          t.same(of('bad').rate, { failed: 3, boots: 3 })
          t.same(of('flaky').rate, { failed: 1, boots: 3 })
          t.same(of('ill').rate, { failed: 0, boots: 1 })
          t.equal(of('good').attempts.length, 2)
          const machines = of('bad').attempts.map(({ machine }) => machine)
          t.same(
            of('bad').attempts.map(({ reason }) => reason),
            ['first', 'same machine', 'another machine'],
          )
          t.equal(machines[0], machines[1])
          t.not(machines[1], machines[2])
          t.not(of('ill').attempts[0]?.machine, of('ill').attempts[1]?.machine)
          t.match(result.document.summary, {
            pass: 3,
            fail: 1,
            invalid: 1,
            error: 1,
            skip: 2,
          })
          t.same([...result.consoles.keys()].sort(), [
            'bad',
            'broken',
            'flaky',
            'ill',
            'odd',
            'skipped',
          ])
          t.equal(nightExitCode(result.cells), 1)
          const context: MorningContext = {
            lastNight: {
              name: 'the night before',
              comparison: compareRuns(
                {
                  cases: result.document.cases.map(one =>
                    one.id === 'odd' ? one : { ...one, verdict: 'pass' },
                  ),
                },
                result.document,
              ),
            },
            release: undefined,
            onsets: new Map([
              [
                'bad',
                {
                  firstBad: {
                    run: 2,
                    started: '2026-11-02T00:00:00Z',
                    verdict: 'fail',
                    release: '7.4.0-rc2',
                    source: 'commit 0123456789ab (master of /linux)',
                  },
                  lastGood: null,
                },
              ],
            ]),
            bisects: new Map([['bad', 'tdxrig bisect x']]),
            report: 'report.html',
          }
          t.same(
            newFailures(result, context.lastNight).map(({ id }) => id),
            ['bad'],
          )
          const text = morningText(result, context)
          t.match(
            text,
            [
              /new failures: 1\n {2}bad\n {4}it is a fail\n {4}failed in all 3 boots, on [ab] and [ab]\n {4}first bad: commit 0123456789ab .*, Linux 7\.4\.0-rc2, on 2026-11-02; it never passed before\n {4}to find the change: tdxrig bisect x\n/,
              /still failing: 1\n {2}odd\n/,
              /flaky: 1\n {2}flaky\n {4}failed in 1 of 3 boots \(33 %\)/,
              /not judged: the rig or a machine failed: 1\n {2}broken\n {4}it is a error/,
            ].reduce(
              (all, one) => new RegExp(`${all.source}[^]*${one.source}`),
            ),
          )
          const mail = morningMail(result, context, 'details')
          t.ok(
            mail
              .split('\n')
              .every(line => line.length <= 72 || !line.includes(' ')),
          )
        },
      )
    })
  })

  t.test(`${name}: the time is over, or nobody is there`, async t => {
    await at(async place => {
      await staged(
        t,
        place,
        {
          workers: ['a'],
          script: {},
          cells: [cell('x'), cell('y', { places: ['host:away'] })],
        },
        async ({ night, lead }) => {
          await lead({}, 1)
          const result = await resultOf(place, night)
          t.match(result.cells, [
            { id: 'x', class: 'pass' },
            {
              id: 'y',
              class: 'not run',
              note: /no worker was there that offers host:away/,
            },
          ])
          t.equal(nightExitCode(result.cells), 3)
          t.match(result.events, [{ text: /nobody is there to boot y/ }])
        },
      )
      await staged(
        t,
        place,
        { workers: ['a'], script: {}, cells: [cell('x'), cell('y')] },
        async ({ night, lead }) => {
          await lead({ budgetMs: 0 })
          const [newest] = await listNights(place.db, { limit: 1 })
          const status = await statusOf(place.db, newest!)
          t.match(status, { open: 0, classes: { 'not run': 2 } })
          await endNight(place.db, night, 'done')
          t.equal(await pruneNights(place.db, { keep: 9, days: null }), 0)
          t.equal(await pruneNights(place.db, { keep: null, days: 3 }), 0)
        },
      )
    })
  })

  t.test(`${name}: a kernel that cannot be built is no failure`, async t => {
    await at(place =>
      staged(
        t,
        place,
        {
          workers: ['a'],
          script: {},
          cells: [cell('x')],
          build: () =>
            Promise.reject(
              new InfraError('BUILD_FAILED', 'a patch does not apply'),
            ),
        },
        async ({ night, lead }) => {
          await lead()
          const result = await resultOf(place, night)
          t.match(result.cells, [
            { class: 'error', note: /not built: a patch does not apply/ },
          ])
          t.match(result.document.cases, [
            {
              verdict: 'error',
              reasons: [{ message: /a patch does not apply/ }],
            },
          ])
        },
      ),
    )
  })

  t.test(
    `${name}: a machine that cannot build leaves it to another`,
    async t => {
      await at(async place => {
        const builders: string[] = []
        await staged(
          t,
          place,
          {
            workers: ['a', 'b'],
            script: {},
            cells: [cell('x')],
            build: worker => {
              builders.push(worker)
              return builders.length === 1
                ? Promise.reject(new InfraError('NO_SOURCE', 'no mirror'))
                : Promise.resolve({ key: 'abc', release: '7.3.0' })
            },
          },
          async ({ night, lead }) => {
            await lead()
            const result = await resultOf(place, night)
            t.match(result.cells, [{ class: 'pass' }])
            t.same(builders.toSorted(), ['a', 'b'])
            t.match(result.events, [
              {
                kind: 'kernel',
                text: /could not be built by [ab], it is built again: no mirror/,
              },
            ])
          },
        )
      })
    },
  )

  t.test(`${name}: one process leads a night`, async t => {
    await at(async place => {
      const started = await Promise.all(
        ['one', 'two'].map(leader =>
          choosingNight(place.db, PLAN.name, async trx => {
            const [last] = await listNights(trx, { name: PLAN.name, limit: 1 })
            if (last) return undefined
            const night = await createNight(trx, PLAN)
            await takeNight(trx, night, { leader, folder: '/n' })
            return { night, leader }
          }),
        ),
      )
      const [first, ...others] = started.filter(one => one !== undefined)
      t.same(others, [])
      const { night, leader } = first!
      t.ok(await leadNight(place.db, night, leader))
      await takeNight(place.db, night, { leader: 'three', folder: '/n' })
      t.equal(await leadNight(place.db, night, leader), undefined)
      t.ok(await leadNight(place.db, night, 'three'))
    })
  })

  t.test(`${name}: a result is stored once`, async t => {
    await at(async place => {
      const night = await createNight(place.db, PLAN)
      const [recipe] = builtRecipes(['/made'])
      await keepPlan(place.db, night, {
        plan: PLAN,
        kernels: [
          { name: 'kernel', recipe: recipe!, like: 'kernel', origin: null },
        ],
        cells: [cell('x')],
      })
      const order = {
        night,
        cell: 0,
        number: 1,
        place: 'qemu',
        step: { kind: 'boot' as const, reason: 'first' },
        priority: 0,
      }
      await queueAttempts(place.db, [order])
      await queueAttempts(place.db, [order])
      const finished = {
        verdict: 'pass' as const,
        machine: 'a',
        totalMs: 1,
        message: null,
        body: null,
        console: null,
      }
      const stored = await Promise.all(
        [1, 2, 3].map(() => finishAttempt(place.db, order, finished)),
      )
      t.same(stored.sort(), [false, false, true])
    })
  })
}

let number = 0
const root = mkdtempSync('/tmp/tdxtest-')
contract('PGlite', action =>
  withNights(join(root, `night${number++}`), quiet, action),
)

if (!hasPostgres())
  t.test('PostgreSQL', { skip: 'it is not installed' }, async () => undefined)
else {
  const server = await startPostgres(t)
  contract('PostgreSQL', async action => {
    await withNights(await server.create(`night${number++}`), quiet, action)
  })

  t.test('a night in which everything goes wrong that can', async t => {
    const checks = await simulateWeek({
      server: { ...server, url: await server.create('week') },
      folder: shortFolder(t),
      seed: 'test',
      nights: 1,
      hosts: 8,
      workers: 4,
      cases: 500,
      spread: 'any',
      bootMs: 40,
      awayMs: 6_000,
      faults: FAULTS,
      onLog: text => {
        t.comment(text)
      },
    })
    for (const check of checks)
      t.match(check, { lost: [], twice: [], wrong: [], away: [], untold: [] })
  })
}
t.teardown(async () => {
  const { rm } = await import('node:fs/promises')
  await rm(root, { recursive: true, force: true })
})
