import { execa } from 'execa'
import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { bisectCommits, commitAt } from './bisect-commits.ts'
import { bisectSeries } from './bisect-series.ts'
import { passesNeeded } from './sureness.ts'

t.test('a fault that seldom shows itself takes more boots', async t => {
  t.equal(passesNeeded({ boots: 20, failed: 20 }, 0.99), 2)
  t.equal(passesNeeded({ boots: 5, failed: 5 }, 0.99), 3)
  t.equal(passesNeeded({ boots: 19, failed: 10 }, 0.99), 7)
  t.equal(passesNeeded({ boots: 19, failed: 1 }, 0.99), 90)
  t.throws(() => passesNeeded({ boots: 9, failed: 0 }, 0.99), RangeError)
  holds(
    t,
    'the fault would have shown itself',
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.integer({ min: 1, max: 50 }),
      fc.constantFrom(0.9, 0.99, 0.999),
      (boots, some, confidence) => {
        const failed = Math.min(boots, some)
        const passes = passesNeeded({ boots, failed }, confidence)
        return (1 - failed / (boots + 1)) ** passes <= 1 - confidence + 1e-6
      },
    ),
  )
})

t.test('the first bad of a series', async t => {
  for (let count = 1; count <= 12; count++)
    for (let first = 0; first < count; first++) {
      let asked = 0
      const { candidates } = await bisectSeries(count, async place => {
        asked++
        return place >= first ? 'bad' : 'good'
      })
      t.same(candidates, [first])
      t.ok(asked <= Math.ceil(Math.log2(count)) + 1)
    }
  const some = await bisectSeries(8, async place =>
    place === 3 || place === 4 ? 'skip' : place >= 5 ? 'bad' : 'good',
  )
  t.same(some.candidates, [3, 4, 5], 'those between cannot be judged')
})

/** Commits in a row; the hashes, the oldest first. */
const history = async (folder: string, count: number): Promise<string[]> => {
  const person = ['-c', 'user.name=x', '-c', 'user.email=x@y.z']
  const git = (...args: string[]) =>
    execa('git', ['-C', folder, ...person, ...args])
  await execa('git', ['init', '--quiet', folder])
  const hashes: string[] = []
  for (let i = 0; i < count; i++) {
    await git('commit', '--quiet', '--allow-empty', '-m', `change ${i}`)
    hashes.push((await git('rev-parse', 'HEAD')).stdout)
  }
  return hashes
}

t.test('git bisect, in a repository of its own', async t => {
  const folder = t.testdir({ tree: {} })
  const tree = `${folder}/tree`
  const hashes = await history(tree, 12)
  const range = { tree, good: hashes[0]!, bad: hashes[11]! }
  for (const first of [1, 5, 11]) {
    const found = await bisectCommits(
      range,
      `${folder}/work`,
      async ({ hash }) => (hashes.indexOf(hash) >= first ? 'bad' : 'good'),
    )
    t.same(found, [{ hash: hashes[first], subject: `change ${first}` }])
  }
  const unsure = await bisectCommits(
    range,
    `${folder}/work`,
    async ({ hash }) => {
      const at = hashes.indexOf(hash)
      return at === 5 || at === 6 ? 'skip' : at >= 6 ? 'bad' : 'good'
    },
  )
  t.same(
    unsure.map(({ subject }) => subject),
    ['change 5', 'change 6', 'change 7'],
  )
  const { stdout } = await execa('git', ['-C', tree, 'for-each-ref'])
  t.notMatch(stdout, /bisect/, 'the tree is left alone')
  await t.rejects(commitAt(tree, 'nowhere'), { code: 'NO_COMMIT' })
  await t.rejects(
    bisectCommits(
      { tree, good: hashes[5]!, bad: hashes[2]! },
      `${folder}/work`,
      async () => 'bad',
    ),
    { code: 'BISECT' },
    'the good one comes after the bad one',
  )
})
