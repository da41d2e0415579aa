import t from 'tap'
import { builtRecipes } from '../kernel/recipe.ts'
import { shortFolder } from '../testing/cli.ts'
import { PLAN, cell } from '../testing/night/stage.ts'
import { openAttempts, queueAttempts } from './attempts.ts'
import { withNights } from './database.ts'
import {
  cellsOf,
  createNight,
  endNight,
  keepPlan,
  leaveNight,
  nightAt,
  pruneNights,
  stopNight,
  takeNight,
} from './nights.ts'
import { leave, register, workersOf } from './workers.ts'

const OPTIONS = { onWait: () => undefined, connections: 2 }

t.test('the turn of a night is no count of rows', async t => {
  const folder = shortFolder(t)
  await withNights(folder, OPTIONS, async place => {
    const { db } = place
    const turns: number[] = []
    const begin = async (): Promise<number> => {
      const night = await createNight(db, PLAN)
      turns.push((await nightAt(db, night)).turn)
      return night
    }
    const [recipe] = builtRecipes(['/made'])
    const kernel = { recipe: recipe!, like: 'kernel', origin: null }
    const plan = (night: number): Promise<void> =>
      keepPlan(db, night, {
        plan: PLAN,
        kernels: [{ name: 'kernel', ...kernel }],
        cells: [cell('x')],
      })
    for (let i = 0; i < 3; i += 1) {
      const night = await begin()
      await plan(night)
      await endNight(db, night, 'done')
    }
    await pruneNights(db, { keep: 1, days: null })
    // One that was not planned was none.
    await endNight(db, await begin(), 'stopped')
    await begin()
    t.same(turns, [0, 1, 2, 3, 3])
  })
})

t.test('a night is given up', async t => {
  const folder = shortFolder(t)
  await withNights(folder, OPTIONS, async place => {
    const { db } = place
    const night = await createNight(db, PLAN)
    const [recipe] = builtRecipes(['/made'])
    await keepPlan(db, night, {
      plan: PLAN,
      kernels: [
        { name: 'kernel', recipe: recipe!, like: 'kernel', origin: null },
      ],
      cells: [cell('x'), cell('y', { places: [], isOffered: false })],
    })
    await takeNight(db, night, { leader: 'one', folder: '/n' })
    t.ok(((await nightAt(db, night)).silent ?? Infinity) < 60)
    await leaveNight(db, night, 'another')
    t.not((await nightAt(db, night)).silent, undefined)
    await leaveNight(db, night, 'one')
    t.equal((await nightAt(db, night)).silent, undefined)
    await queueAttempts(db, [
      {
        night,
        cell: 0,
        number: 1,
        place: 'qemu',
        step: { kind: 'boot' as const, reason: 'first' },
        priority: 0,
      },
    ])
    t.equal(await stopNight(db, night), 0)
    t.match(await nightAt(db, night), { state: 'stopped', folder: '/n' })
    t.match(await cellsOf(db, night), [
      { id: 'x', class: null },
      { id: 'y', class: 'not run' },
    ])
    t.same(await openAttempts(db, night), [])
  })
})

t.test('two workers do not have one name', async t => {
  const folder = shortFolder(t)
  await withNights(folder, OPTIONS, async ({ db }) => {
    const offer = {
      machine: 'm',
      qemu: null,
      hosts: [],
      builds: true,
      version: '0',
    }
    const one = { name: 'w', pools: [], offer }
    const here = (pid: number) => ({ ...one, process: `m, process ${pid}` })
    await register(db, here(process.pid))
    await t.rejects(register(db, here(1)), {
      message:
        /a worker 'w' is at work already \(m, process \d+, heard of 0 s ago\).*--name/,
    })
    await t.rejects(register(db, { ...one, process: 'n, process 1' }), {
      message: /at work already/,
    })
    await leave(db, 'w')
    // No process has this number: Linux has fewer.
    await register(db, here(2 ** 22 + 1))
    await register(db, here(process.pid))
    t.match(await workersOf(db), [{ name: 'w', state: 'up' }])
  })
})
