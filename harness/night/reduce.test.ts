import * as fc from 'fast-check'
import t from 'tap'
import { Pending, type Ready } from './pending.ts'
import type { PlannedCell } from './plan.ts'
import { byPairs, fitted, neededTime, pairsOf } from './reduce.ts'

const cell = (
  scenario: string,
  kernel: string,
  target: string,
  values: readonly string[] = [],
): PlannedCell => ({
  id: `${scenario}[${values.join(' ')}]@${kernel}@${target}`,
  kernel,
  target,
  scenario,
  input: {},
  values,
  places: [target],
  isOffered: true,
  estimateMs: 1000,
  repeat: 1,
  note: null,
})

const matrix = (
  scenarios: number,
  kernels: number,
  targets: number,
  values: number,
): PlannedCell[] => {
  const list = (count: number, name: string): string[] =>
    Array.from({ length: count }, (_, i) => `${name}${i}`)
  return list(scenarios, 's').flatMap(scenario =>
    list(kernels, 'k').flatMap(kernel =>
      list(targets, 't').flatMap(target =>
        list(values, 'v').map(value =>
          cell(scenario, kernel, target, [`a=${value}`]),
        ),
      ),
    ),
  )
}

const pairs = (cells: readonly PlannedCell[]): Set<string> =>
  new Set(cells.flatMap(pairsOf))

t.test('a smaller matrix shows every pair of a larger one', async t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 4 }), {
        minLength: 4,
        maxLength: 4,
      }),
      fc.string(),
      (sizes, night) => {
        const [s, k, m, v] = sizes as [number, number, number, number]
        const cells = matrix(s, k, m, v)
        const { ordered, covering } = byPairs(cells, night)
        const chosen = ordered.slice(0, covering)
        return (
          ordered.length === cells.length &&
          new Set(ordered).size === cells.length &&
          pairs(chosen).size === pairs(cells).size
        )
      },
    ),
  )
  const cells = matrix(6, 4, 4, 4)
  const { covering } = byPairs(cells, '1')
  t.ok(covering <= cells.length / 4, `${covering} of ${cells.length}`)
  t.not(
    byPairs(cells, '1')
      .ordered.map(({ id }) => id)
      .join(),
    byPairs(cells, '2')
      .ordered.map(({ id }) => id)
      .join(),
    'each night takes others',
  )
})

t.test('a night of thousands of cases is planned at once', async t => {
  const cells = matrix(40, 6, 6, 6)
  const { covering } = byPairs(cells, '1')
  t.ok(covering < cells.length / 4)
})

t.test('what fits stays, and targets work at once', async t => {
  const cells = matrix(2, 2, 2, 2)
  const one = (): number => 1
  t.equal(neededTime(cells, one), 8_000)
  t.equal(
    neededTime(cells, () => 4),
    2_000,
  )
  t.equal(neededTime([], one), 0)
  const all = fitted(cells, { budgetMs: 8_000, capacity: one, night: '' })
  t.same([all.kept.length, all.leftOut.length, all.isTight], [16, 0, false])
  const some = fitted(cells, { budgetMs: 6_000, capacity: one, night: '' })
  t.ok(neededTime(some.kept, one) <= 6_000)
  t.equal(some.kept.length + some.leftOut.length, 16)
  t.equal(pairs(some.kept).size, pairs(cells).size)
  const tight = fitted(cells, { budgetMs: 1, capacity: one, night: '' })
  t.equal(tight.isTight, true)
  t.equal(pairs(tight.kept).size, pairs(cells).size, 'pairs come first')
})

const ready = (
  number: number,
  step: Partial<Ready['step']> = {},
  places: readonly string[] = ['host:a', 'host:b'],
): Ready => ({
  cell: number,
  places,
  estimateMs: number * 10,
  step: { kind: 'boot', reason: 'first', ...step },
})

t.test('places are given the longest, and repetitions first', async t => {
  const pending = new Pending()
  pending.addFirst([ready(1), ready(3), ready(2, {}, ['host:a'])])
  pending.addAgain(ready(9, { reason: 'same machine', only: 'b' }))
  pending.addAgain(ready(8, { reason: 'another machine', not: 'a' }))
  t.same(
    ['host:a', 'host:b', 'host:b', 'host:a', 'host:b', 'host:a'].map(
      place => pending.take(place)?.cell,
    ),
    [3, 9, 8, 2, 1, undefined],
  )
  pending.addFirst([ready(1), ready(2, {}, ['qemu'])])
  pending.addAgain(ready(3, { only: 'b' }))
  const out = pending.takeOut(({ places }) => places.includes('qemu'))
  t.same(out.map(one => one.cell).sort(), [1, 3])
  t.equal(pending.take('qemu')?.cell, 2)
})
