import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { sweep, withLock } from '../base/lock.ts'
import { memoized } from '../base/memo.ts'
import { InfraError } from '../base/errors.ts'
import type { Machine } from '../machine/machine.ts'
import { verdictOf } from '../judge/case-outcome.ts'
import { WITNESS_NAMES } from '../machine/record.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { V6 } from '../tdx/series/v6.ts'
import { KERNEL } from '../testing/judged.ts'
import { ScriptedMachine } from '../testing/scripted-machine.ts'
import { bodyOf, namedCase, perfectBoot, recordOf } from '../testing/records.ts'
import { eventually } from '../testing/cli.ts'
import type { PreparedKernel } from './kernels.ts'
import { type AttemptRule, runCases } from './run.ts'
import { checkOutputFile, ensureFolder, writeWhole } from '../base/output.ts'
import { ResultStore, folderName } from './store.ts'
import { Workspace } from './workspace.ts'

/** The one kernel of scripted boots. */
const PREPARED: ReadonlyMap<string, PreparedKernel> = new Map([
  [
    'k',
    {
      ...KERNEL,
      name: 'k',
      key: 'abc',
      programs: { init: '/none', trigger: '/none' },
      initramfs: '/none',
    } as unknown as PreparedKernel,
  ],
])

t.test('a workspace is gone when it is disposed of', async t => {
  const workspace = Workspace.create()
  writeFileSync(join(await workspace.directory('a'), 'file'), 'x')
  t.ok(existsSync(join(workspace.path, 'a', 'file')))
  await workspace[Symbol.asyncDispose]()
  t.notOk(existsSync(workspace.path))
})

t.test('the result store', async t => {
  const cwd = process.cwd()
  process.chdir(t.testdir({}))
  t.teardown(() => {
    process.chdir(cwd)
  })
  const store = await ResultStore.create(undefined, new Date(0))
  t.equal(readlinkSync('results/latest'), '1970-01-01T00-00-00-000Z')
  writeFileSync('console.log', 'hello')
  writeFileSync('console.times', '1 0 5')
  const record = recordOf(perfectBoot(bodyOf({})).seen)
  const id = 'a/b[memmap=64M$1G]@k'
  const console = {
    path: 'console.log',
    timesPath: 'console.times',
    lossy: false,
  }
  const path = await store.keepConsole(id, {
    ...record,
    witnesses: { ...record.witnesses, console },
  })
  t.equal(path, join('cases', folderName(id), 'console.log'))
  t.equal(readFileSync(join(store.path, path!), 'utf8'), 'hello')
  t.equal(
    await store.keepConsole(id, {
      ...record,
      witnesses: { ...record.witnesses, console: null },
    }),
    null,
    'a machine without a console',
  )
  t.not(folderName('a/b'), folderName('a_b'), 'ids stay apart')
  t.notMatch(folderName('../../x'), /^\.|\//)
  mkdirSync('d')
  await t.rejects(writeWhole('d', 'x'))
  t.same(
    readdirSync('.').filter(name => name.includes('partial')),
    [],
    'a failed write leaves nothing',
  )
})

t.test(
  'cases run in order of results, a machine that fails is an error',
  // One at a time, and the first would wait for ever.
  { timeout: 10_000 },
  async t => {
    const cases = ['one', 'two', 'three'].map(id => namedCase({}, id, 'k'))
    let running = 0
    let most = 0
    let meet: () => void = () => undefined
    const met = new Promise<void>(resolve => (meet = resolve))
    const machine: Machine = {
      description: 'a stand-in',
      witnesses: new Set(WITNESS_NAMES),
      boot: async () => {
        most = Math.max(most, ++running)
        // The first waits for the second: one at a time would end here.
        if (running === 2) meet()
        await met
        running--
        throw new InfraError('TEST', 'no machine today')
      },
    }
    await using workspace = Workspace.create()
    const results = await runCases({
      cases,
      machine,
      workspace,
      jobs: 2,
      kernels: new Map([
        [
          'k',
          {
            name: 'k',
            series: MAINLINE_6_8,
            programs: { trigger: '/none' },
          } as unknown as PreparedKernel,
        ],
      ]),
      signal: new AbortController().signal,
    })
    t.same(
      results.map(outcome => [outcome.item.id, verdictOf(outcome)]),
      [
        ['one', 'error'],
        ['two', 'error'],
        ['three', 'error'],
      ],
    )
    t.match(results[0], { message: 'no machine today' })
    t.equal(most, 2, 'two at a time')
  },
)

t.test('a kexec that cannot be followed, or not be done', async t => {
  const item = namedCase({ steps: ['trigger', { kexec: {} }] }, 'one', 'k')
  const skipped = async (
    followsKexec: boolean,
    symbols: readonly string[],
  ): Promise<string[]> => {
    await using workspace = Workspace.create()
    const outcomes = await runCases({
      cases: [item],
      machine: {
        description: 'a stand-in',
        witnesses: new Set(WITNESS_NAMES),
        followsKexec,
        boot: () => Promise.reject(new InfraError('TEST', 'booted')),
      },
      workspace,
      jobs: 1,
      kernels: new Map([
        [
          'k',
          {
            name: 'k',
            series: MAINLINE_6_8,
            bzImage: '/none',
            programs: { init: '/none', trigger: '/none' },
            image: {
              symbol: (name: string) =>
                symbols.includes(name) ? {} : undefined,
            },
          } as unknown as PreparedKernel,
        ],
      ]),
      signal: new AbortController().signal,
    })
    return outcomes.map(outcome =>
      outcome.kind === 'skip' ? outcome.message : outcome.kind,
    )
  }
  t.match(await skipped(false, ['bzImage64_load']), [/does not follow it/])
  t.match(await skipped(true, []), [/CONFIG_KEXEC_FILE/])
  t.same(await skipped(true, ['bzImage64_load']), ['error'], 'it is tried')
})

t.test('a kernel that cannot be had here: its cases are skipped', async t => {
  await using workspace = Workspace.create()
  const outcomes = await runCases({
    cases: [namedCase({}, 'one', 'k'), namedCase({}, 'two', 'other')],
    machine: new ScriptedMachine(namedCase({}, 'one', 'k')),
    workspace,
    jobs: 1,
    kernels: PREPARED,
    missing: new Map([
      ['other', { series: V6, message: 'linux-source-6.1 is not here' }],
    ]),
    signal: new AbortController().signal,
  })
  t.match(outcomes, [
    { kind: 'judged', judgement: { verdict: 'pass' } },
    { kind: 'skip', message: 'linux-source-6.1 is not here' },
  ])
})

t.test('a module that cannot be told to fail is not asked to', async t => {
  await using workspace = Workspace.create()
  const faults = [{ leaf: 'SYS.CONFIG', status: '0x8000020000000001' }]
  const item = namedCase({ tdx: { faults } }, 'one', 'k')
  const outcomes = await runCases({
    cases: [item],
    machine: new ScriptedMachine(item, ['module']),
    workspace,
    jobs: 1,
    kernels: new Map([
      ['k', { ...KERNEL, name: 'k', key: 'abc' } as unknown as PreparedKernel],
    ]),
    signal: new AbortController().signal,
  })
  t.match(outcomes, [{ kind: 'skip', message: /cannot be told to fail/ }])
})

t.test('a lock is held by one, and waited for', async t => {
  const path = join(t.testdir({}), 'a.lock')
  const order: string[] = []
  let release: () => void = () => undefined
  const held = new Promise<void>(resolve => (release = resolve))
  const first = withLock(
    path,
    async () => {
      order.push('first in')
      await held
      order.push('first out')
    },
    { onWait: () => undefined },
  )
  t.ok(await eventually(() => order.length === 1))
  let waited = false
  const second = withLock(path, async () => order.push('second'), {
    onWait: () => (waited = true),
  })
  t.ok(await eventually(() => waited), 'it says that it waits')
  release()
  await Promise.all([first, second])
  t.same(order, ['first in', 'first out', 'second'])
  await t.rejects(
    withLock(path, () => Promise.reject(new Error('inside')), {
      onWait: () => undefined,
    }),
    /inside/,
  )
  t.equal(
    await withLock(path, async () => 5, { onWait: () => undefined }),
    5,
    'and is free again',
  )
})

t.test('what killed processes left is swept, what lives is not', async t => {
  const folder = t.testdir({
    'left.partial': { deep: { file: 'x' } },
    'held.partial': { file: 'x' },
    other: { file: 'x' },
  })
  await withLock(
    join(folder, 'held.lock'),
    async () => {
      await sweep(folder)
    },
    { onWait: () => undefined },
  )
  t.notOk(existsSync(join(folder, 'left.partial')))
  t.ok(existsSync(join(folder, 'held.partial', 'file')))
  t.ok(existsSync(join(folder, 'other')))
  await sweep(join(folder, 'none'))
})

t.test('what is remembered of a file goes when the file changes', async t => {
  const folder = t.testdir({ file: 'a' })
  const before = process.env['XDG_CACHE_HOME']
  process.env['XDG_CACHE_HOME'] = folder
  t.teardown(() => {
    if (before === undefined) delete process.env['XDG_CACHE_HOME']
    else process.env['XDG_CACHE_HOME'] = before
  })
  let calls = 0
  const length = async (path: string): Promise<string> => {
    calls++
    return String(readFileSync(path).length)
  }
  const file = join(folder, 'file')
  t.equal(await memoized(file, 'length', length), '1')
  t.equal(await memoized(file, 'length', length), '1')
  t.equal(calls, 1)
  writeFileSync(file, 'abc')
  t.equal(await memoized(file, 'length', length), '3')
  for (const name of readdirSync(join(folder, 'tdxrig', 'memo')))
    writeFileSync(join(folder, 'tdxrig', 'memo', name), 'garbage')
  t.equal(
    await memoized(file, 'length', length),
    '3',
    'a damaged memo costs time, nothing else',
  )
  t.equal(calls, 3)
  const many = Array.from({ length: 20 }, (_, i) =>
    memoized(file, `length ${i % 4}`, length),
  )
  t.ok(
    (await Promise.all(many)).every(value => value === '3'),
    'all at once',
  )
})

t.test('outputs: devices and pipes are written to, never replaced', async t => {
  const folder = t.testdir({ file: 'x', sub: {} })
  const fifo = join(folder, 'fifo')
  execFileSync('mkfifo', [fifo])
  const reader = execFile('cat', [fifo])
  let read = ''
  reader.stdout?.on('data', (text: string) => (read += text))
  await writeWhole(fifo, 'hello')
  await new Promise(resolve => reader.once('close', resolve))
  t.equal(read, 'hello')
  t.ok(statSync(fifo).isFIFO(), 'still a pipe')
  await writeWhole('/dev/null', 'x')
  t.ok(statSync('/dev/null').isCharacterDevice())
  await checkOutputFile('--json', '/dev/null')
  await checkOutputFile('--json', join(folder, 'new'))
  for (const path of [
    '',
    '-',
    join(folder, 'sub'),
    '/nonexistent/x',
    join(folder, 'file', 'x'),
  ])
    await t.rejects(checkOutputFile('--json', path), { code: 'OUTPUT' }, path)
  await ensureFolder(join(folder, 'a', 'b', 'c'))
  t.ok(existsSync(join(folder, 'a', 'b', 'c')))
  await t.rejects(ensureFolder('/proc/tdxrig/x'), { code: 'ENOENT' })
  await t.rejects(ensureFolder(join(folder, 'file', 'x')), /ENOTDIR|EEXIST/)
})

t.test('how often a case is booted', async t => {
  await using workspace = Workspace.create()
  const item = namedCase({}, 'one', 'k')
  /** Boots fail as they are told to: by their number, from 1. */
  const verdictsOf = async (
    failing: readonly number[],
    attempts?: AttemptRule,
  ): Promise<{ verdict: string; attempts: string[]; consoles: string[] }> => {
    const good = new ScriptedMachine(item)
    const consoles: string[] = []
    let boots = 0
    let tried: string[] = []
    const [outcome] = await runCases({
      cases: [item],
      machine: {
        description: 'a scripted boot',
        witnesses: good.witnesses,
        boot: async (plan, signal) => {
          const record = await good.boot(plan, signal)
          return failing.includes(++boots)
            ? { ...record, end: 'silence' }
            : record
        },
      },
      workspace,
      jobs: 1,
      kernels: PREPARED,
      signal: new AbortController().signal,
      ...(attempts && { attempts }),
      keepConsole: id => {
        consoles.push(id)
        return Promise.resolve(null)
      },
      onOutcome: (_, all) => {
        tried = all.map(verdictOf)
      },
    })
    return { verdict: verdictOf(outcome!), attempts: tried, consoles }
  }
  t.match(await verdictsOf([1]), { verdict: 'fail', attempts: ['fail'] })
  t.match(
    await verdictsOf([1, 2], { repeat: 1, retries: 3 }),
    { verdict: 'pass', attempts: ['fail', 'fail', 'pass'] },
    'again until it passes',
  )
  t.match(await verdictsOf([1, 2], { repeat: 1, retries: 1 }), {
    verdict: 'fail',
    attempts: ['fail', 'fail'],
  })
  const repeated = await verdictsOf([2], { repeat: 3, retries: 0 })
  t.match(
    repeated,
    { verdict: 'fail', attempts: ['pass', 'fail', 'pass'] },
    'one that fails is reported',
  )
  t.same(
    repeated.consoles,
    ['one', 'one attempt 2', 'one attempt 3'],
    'each console is kept',
  )
})
