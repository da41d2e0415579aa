import { createHash } from 'node:crypto'
import {
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { projectRoot } from '../base/paths.ts'
import { type Outcome, runCli, shortFolder } from '../testing/cli.ts'

const LOG = join(
  projectRoot(),
  'harness/console/golden/upstream-6.12-two-uneven.txt',
)

/** A command with a cache of its own, and where that is. */
const explaining = (
  t: Test,
): { readonly explain: () => Promise<Outcome>; readonly caches: string } => {
  const cwd = shortFolder(t)
  const cache = join(cwd, 'cache')
  return {
    explain: () =>
      runCli(['explain', LOG], { cwd, env: { XDG_CACHE_HOME: cache } }),
    caches: join(cache, 'tdxrig', 'code'),
  }
}

const only = (folder: string): string => {
  const [name = '', ...others] = readdirSync(folder)
  t.same(others, [], 'one file a command')
  return join(folder, name)
}

t.test('the code of a command is kept and used', async t => {
  const { explain, caches } = explaining(t)
  const first = await explain()
  t.equal(first.code, 0)
  const { mtimeMs } = statSync(only(caches))
  const second = await explain()
  t.same(second, first)
  t.equal(statSync(only(caches)).mtimeMs, mtimeMs, 'and not written again')
})

t.test('a broken one is written anew', async t => {
  const { explain, caches } = explaining(t)
  const first = await explain()
  const path = only(caches)
  const whole = readFileSync(path)
  for (const [what, bytes] of [
    ['nothing', Buffer.alloc(0)],
    ['a part', whole.subarray(0, whole.length / 2)],
    ['another byte', Buffer.from(whole).fill(0xff, 5000, 5001)],
    ['something else', Buffer.from('no code of V8'.repeat(1000))],
  ] as const) {
    writeFileSync(path, bytes)
    t.same(await explain(), first, what)
    const again = readFileSync(path)
    const sum = createHash('sha256').update(again.subarray(32)).digest()
    t.ok(sum.equals(again.subarray(0, 32)), what)
    t.ok(again.length > whole.length / 2, what)
  }
})

t.test('where it cannot be kept the command runs all the same', async t => {
  const { explain, caches } = explaining(t)
  mkdirSync(join(caches, '..'), { recursive: true })
  writeFileSync(caches, 'a file where the folder should be')
  t.equal((await explain()).code, 0)
  t.equal((await explain()).code, 0)
})

t.test('old ones go', async t => {
  const { explain, caches } = explaining(t)
  mkdirSync(caches, { recursive: true })
  for (let i = 0; i < 100; i++) writeFileSync(join(caches, `old-${i}`), '')
  t.equal((await explain()).code, 0)
  t.equal(readdirSync(caches).length, 60)
})
