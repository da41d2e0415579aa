import t from 'tap'
import { InfraError } from '../base/errors.ts'
import { isOutage, throughOutages } from './outage.ts'

const coded = (code: string, more: object = {}): Error =>
  Object.assign(new Error(code), { code, ...more })

t.test('what passes by itself, and what does not', async t => {
  const cases: readonly [error: unknown, is: boolean][] = [
    [coded('ECONNREFUSED', { address: '127.0.0.1', port: 5432 }), true],
    [coded('EAI_AGAIN', { hostname: 'db' }), true],
    [new Error('Connection terminated unexpectedly'), true],
    [new Error('Query read timeout'), true],
    // admin_shutdown, cannot_connect_now, too_many_connections, deadlock,
    // read_only_sql_transaction
    [coded('57P01'), true],
    [coded('57P03'), true],
    [coded('53300'), true],
    [coded('40P01'), true],
    [coded('25006'), true],
    // undefined_column, unique_violation, numeric_value_out_of_range
    [coded('42703'), false],
    [coded('23505'), false],
    [coded('22003'), false],
    [coded('ENOSPC', { path: '/out/morning.txt' }), false],
    [new InfraError('NIGHT_LED', 'led by another'), false],
    [new TypeError('x is undefined'), false],
    ['a string', false],
  ]
  t.plan(cases.length)
  for (const [error, is] of cases) t.equal(isOutage(error), is, String(error))
})

t.test('what was away is done again, and said once', async t => {
  const said: string[] = []
  let tries = 0
  const controller = new AbortController()
  const options = {
    signal: controller.signal,
    onLog: (_: string, text: string) => {
      said.push(text)
    },
  }
  t.equal(
    await throughOutages(options, () =>
      ++tries < 3 ? Promise.reject(coded('57P01')) : Promise.resolve(tries),
    ),
    3,
  )
  t.same(said, ['57P01'])
  await t.rejects(
    throughOutages(options, () => Promise.reject(coded('42703'))),
    { code: '42703' },
  )
  const waits = throughOutages(options, () => {
    controller.abort(new Error('stopped'))
    return Promise.reject(coded('57P01'))
  })
  await t.rejects(waits, { message: 'stopped' })
})
