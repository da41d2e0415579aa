import t from 'tap'
import { Pulse } from './pulse.ts'
import { Spool } from './spool.ts'
import type { NightDatabase } from './tables.ts'

/** Times of a test are shorter: a pulse of 50 in a second. */
const SECONDS = 0.02

/** In place of the tables: what is told, and whether somebody sweeps. */
const listener = (): { db: NightDatabase; told: string[] } => {
  const told: string[] = []
  const db = {
    insertInto: () => ({
      values: ({ text }: { readonly text: string }) => ({
        execute: () => {
          told.push(text)
          return Promise.resolve()
        },
      }),
    }),
  } as unknown as NightDatabase
  return { db, told }
}

t.test('a clock that jumps is told, and a database that was away', async t => {
  const { db, told } = listener()
  let jump = 0
  let beats = 0
  let isAway = false
  const pulse = new Pulse({
    db,
    name: 'worker w',
    seconds: SECONDS,
    onLog: () => undefined,
    beat: () => {
      beats++
      return isAway
        ? Promise.reject(new Error('no route'))
        : Promise.resolve({ clock: Date.now() + jump })
    },
  })
  const until = async (is: () => boolean): Promise<void> => {
    while (!is()) await new Promise(resolve => setImmediate(resolve))
  }
  const more = (count: number) => {
    const from = beats
    return until(() => beats >= from + count)
  }
  pulse.start()
  await more(2)
  jump = 3_600_000
  await until(() => told.length > 0)
  t.same(told, ['the clock of the database jumped by +3600 s'])
  isAway = true
  await more(2)
  isAway = false
  await until(() => told.length > 1)
  t.match(told[1], /worker w could not reach the database for \d+ s/)
  await pulse.stop()
  t.equal(told.length, 2)
})

t.test('a spool keeps what was not stored', async t => {
  const folder = `${t.testdir()}/spool`
  const spool = new Spool(folder)
  t.same(await spool.left(), [])
  const finished = {
    verdict: 'fail' as const,
    machine: 'w',
    totalMs: 12,
    message: null,
    body: Buffer.from([0, 255]),
    console: null,
  }
  const attempt = { night: 1, cell: 2, number: 3 }
  await spool.put({ attempt, finished })
  await spool.put({ attempt: { ...attempt, number: 4 }, finished })
  t.same(await new Spool(folder).left(), [
    { attempt, finished },
    { attempt: { ...attempt, number: 4 }, finished },
  ])
  await spool.drop(attempt)
  t.equal((await spool.left()).length, 1)
})
