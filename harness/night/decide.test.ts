import * as fc from 'fast-check'
import t from 'tap'
import { type Situation, type Tried, cutShort, decide } from './decide.ts'

const situation = (
  machines: readonly string[],
  policy: Partial<Situation['policy']> = {},
): Situation => ({
  policy: { repeat: 1, same: 1, elsewhere: 1, errors: 3, ...policy },
  hasOther: machine => machines.some(other => other !== machine),
  isThere: machine => machines.includes(machine),
})

const at = (machine: string, verdict: Tried['verdict']): Tried => ({
  machine,
  verdict,
})

t.test('what comes after these boots', async t => {
  const two = situation(['a', 'b'])
  const cases: readonly (readonly [
    string,
    readonly Tried[],
    Situation,
    object,
  ])[] = [
    ['none', [], two, { kind: 'boot', reason: 'first' }],
    ['a pass', [at('a', 'pass')], two, { kind: 'settled', class: 'pass' }],
    [
      'a failure',
      [at('a', 'fail')],
      two,
      { kind: 'boot', reason: 'same machine', only: 'a' },
    ],
    [
      'the same again',
      [at('a', 'fail'), at('a', 'fail')],
      two,
      { kind: 'boot', reason: 'another machine', not: 'a' },
    ],
    [
      'everywhere',
      [at('a', 'fail'), at('a', 'fail'), at('b', 'fail')],
      two,
      { kind: 'settled', class: 'fail' },
    ],
    [
      'it passes elsewhere',
      [at('a', 'fail'), at('a', 'fail'), at('b', 'pass')],
      two,
      { kind: 'settled', class: 'flaky' },
    ],
    [
      'one machine is all there is',
      [at('a', 'invalid'), at('a', 'invalid')],
      situation(['a']),
      { kind: 'settled', class: 'invalid' },
    ],
    [
      'the machine that showed it is gone',
      [at('a', 'fail')],
      situation(['b']),
      { kind: 'boot', reason: 'another machine', not: 'a' },
    ],
    [
      'a fault of the rig',
      [at('a', 'error')],
      two,
      { kind: 'boot', reason: 'after an error', not: 'a' },
    ],
    [
      'a fault of the only machine',
      [at('a', 'error')],
      situation(['a']),
      { kind: 'boot', reason: 'after an error' },
    ],
    [
      'nothing but faults',
      [1, 2, 3, 4].map(() => at('a', 'error')),
      two,
      { kind: 'settled', class: 'error' },
    ],
    [
      'faults hide no failure',
      [at('a', 'fail'), ...[1, 2, 3, 4].map(() => at('a', 'error'))],
      two,
      { kind: 'settled', class: 'unconfirmed' },
    ],
    ['a skip', [at('a', 'skip')], two, { kind: 'settled', class: 'skip' }],
    [
      'one of three boots',
      [at('a', 'pass')],
      situation(['a'], { repeat: 3 }),
      { kind: 'boot', reason: 'boot 2' },
    ],
    [
      'no repetition is wanted',
      [at('a', 'fail')],
      situation(['a', 'b'], { same: 0, elsewhere: 0 }),
      { kind: 'settled', class: 'fail' },
    ],
  ]
  for (const [name, tried, where, expected] of cases)
    t.same(decide(tried, where), expected, name)
})

t.test('the night is over', async t => {
  t.equal(cutShort([]), 'not run')
  t.equal(cutShort([at('a', 'error')]), 'error')
  t.equal(cutShort([at('a', 'fail')]), 'unconfirmed')
  t.equal(cutShort([at('a', 'pass'), at('a', 'fail')]), 'flaky')
  t.equal(cutShort([at('a', 'pass')]), 'pass')
})

t.test('whatever the boots say, it ends, and says what they said', async () => {
  const verdict = fc.constantFrom('pass', 'fail', 'invalid', 'error' as const)
  fc.assert(
    fc.property(
      fc.array(verdict, { minLength: 40, maxLength: 40 }),
      fc.subarray(['a', 'b', 'c'], { minLength: 1 }),
      fc.integer({ min: 1, max: 5 }),
      (verdicts, machines, repeat) => {
        const where = situation(machines, { repeat })
        const tried: Tried[] = []
        for (const next of verdicts) {
          const step = decide(tried, where)
          if (step.kind === 'settled') {
            const judged = tried.filter(one => one.verdict !== 'error')
            const failed = judged.filter(one => one.verdict !== 'pass')
            if (step.class === 'pass') return failed.length === 0
            if (step.class === 'flaky')
              return failed.length > 0 && failed.length < judged.length
            if (step.class === 'error')
              return judged.length === 0 || failed.length === 0
            return failed.length === judged.length && failed.length > 0
          }
          const machine =
            step.only ?? machines.find(one => one !== step.not) ?? machines[0]!
          tried.push({ verdict: next, machine })
        }
        return false
      },
    ),
  )
})
