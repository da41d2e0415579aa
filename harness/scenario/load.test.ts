import { join } from 'node:path'
import t from 'tap'
import { DEFAULT_BOARD } from '../board/index.ts'
import { UsageError } from '../base/errors.ts'
import { GIB, MIB } from '../base/units.ts'
import { HEAD, loadText } from '../testing/scenarios.ts'
import { loadCases } from './load.ts'

const KERNELS = {
  kernels: ['one', 'two'],
  onlyKernels: undefined,
  board: DEFAULT_BOARD,
}

t.test('defaults', async t => {
  const cases = await loadText(t, `${HEAD}machine: { memory: 4G }\n`)
  t.same(
    cases.map(({ kernel }) => kernel),
    ['one', 'two'],
    'all kernels',
  )
  t.match(cases[0], {
    name: 'n',
    machine: {
      memory: { size: 4 * GIB, nodes: [], dimms: [] },
      cpus: 2,
      packages: 1,
      cpuModel: 'sapphire-rapids',
      nodeCpus: [],
    },
    platform: {
      keyids: { mktme: 31, tdx: 32 },
      module: '1.5.05',
      cmrs: [
        { start: MIB, end: 2 * GIB },
        { start: 4 * GIB, end: 6 * GIB },
      ],
      lps: 2,
    },
    words: [],
    expect: { outcome: 'initialized' },
  })
})

t.test('nodes, packages, parameters', async t => {
  const [item] = await loadText(
    t,
    `${HEAD}kernels: [two]
machine:
  cpus: 4
  nodes:
    - { memory: 2G, cpus: 0-1 }
    - { memory: 4G, cpus: '2,3', start: 0x100000000 }
cmdline: { mem: 5G, memmap: ['64M$0x140000000', 1G!5G], append: [nohibernate] }
expect: { tdx: failed, stage: tdmrs, errno: -28 }
`,
  )
  t.match(item, {
    kernel: 'two',
    machine: {
      packages: 2,
      cpuModel: 'sapphire-rapids',
      nodeCpus: [
        [0, 1],
        [2, 3],
      ],
      memory: { nodes: [2 * GIB, 4 * GIB] },
    },
    platform: { packageOf: [0, 0, 1, 1] },
    words: ['mem=5G', 'memmap=64M$0x140000000', 'memmap=1G!5G', 'nohibernate'],
    expect: { outcome: 'failed', stage: 'tdmrs', errno: -28 },
  })
})

t.test('a matrix with include and exclude', async t => {
  const cases = await loadText(
    t,
    `${HEAD}kernels: [one]
machine: { memory: 1G }
matrix:
  machine.cpus: [1, 4]
  cmdline.memmap: [[], ['1M$512M']]
  exclude:
    - { machine.cpus: 4, cmdline.memmap: [] }
  include:
    - { machine.cpus: 1, machine.packages: 1 }
    - { machine.cpus: 2, expect.tdx: disabled }
`,
  )
  t.same(
    cases.map(({ id }) => id.replace(/^.*?\[/, '[')),
    [
      '[cpus=1 memmap=none packages=1]@one',
      '[cpus=1 memmap=1M$512M packages=1]@one',
      '[cpus=4 memmap=1M$512M]@one',
      '[cpus=2]@one',
    ],
  )
  t.equal(cases[3]?.expect.outcome, 'disabled')
})

t.test('the caret stands under the mistake', async t => {
  try {
    await loadText(t, `${HEAD}machine: { memroy: 4G }\n`)
    t.fail('expected a complaint')
  } catch (error) {
    t.ok(error instanceof UsageError)
    t.match((error as Error).message.split('\n').slice(1), [
      '  3 | machine: { memroy: 4G }',
      '    |            ^^^^^^',
    ])
  }
})

t.test('all files are checked, in folders too', async t => {
  const folder = t.testdir({
    a: {
      'x.yaml': `${HEAD}machine: { memory: 1G }\nbad: 1\n`,
      'notes.txt': 'no',
    },
    b: { 'y.yml': `${HEAD}machine: { memory: 2M }\n` },
  })
  await t.rejects(
    loadCases([folder], KERNELS),
    /unknown key 'bad'[^]*at least 512M/,
  )
  await t.rejects(
    loadCases([join(folder, 'c')], KERNELS),
    /no such scenario file or folder/,
  )
  await t.rejects(
    loadCases([join(folder, 'a', 'notes.txt')], KERNELS),
    /expected a scenario/,
  )
  const empty = t.testdir({ e: {} })
  await t.rejects(loadCases([join(empty, 'e')], KERNELS), /no \*\.yaml file/)
})
