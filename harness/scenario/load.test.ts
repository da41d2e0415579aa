import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UsageError } from '../base/errors.ts'
import { GIB, MIB } from '../base/units.ts'
import type { Case } from './case.ts'
import { loadCases } from './load.ts'

const KERNELS = { kernels: ['one', 'two'], onlyKernels: undefined }

const load = async (t: Test, text: string): Promise<Case[]> => {
  const folder = t.testdir({ 's.yaml': text })
  return loadCases([join(folder, 's.yaml')], KERNELS)
}

const HEAD = 'name: n\nwhy: w\n'

/** The messages of a refused file, with line and column, the path cut off. */
const complaints = async (t: Test, text: string): Promise<string[]> => {
  try {
    await load(t, text)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    return error.message
      .split('\n\n')
      .map(block => block.split('\n')[0]!.replace(/^.*?s\.yaml:/, ''))
  }
  return ['accepted']
}

t.test('defaults', async t => {
  const cases = await load(t, `${HEAD}machine: { memory: 4G }\n`)
  t.same(
    cases.map(({ kernel }) => kernel),
    ['one', 'two'],
    'all kernels',
  )
  t.match(cases[0], {
    name: 'n',
    machine: {
      memory: { size: 4 * GIB, nodes: [] },
      cpus: 2,
      packages: 1,
      nodeCpus: [],
    },
    platform: {
      keyids: { mktme: 31, tdx: 32 },
      moduleLoaded: true,
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
  const [item] = await load(
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
  const cases = await load(
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

t.test('every mistake is named with its place and what is allowed', async t => {
  const cases: [text: string, messages: RegExp[]][] = [
    ['- a\n', [/^1:1: expected a scenario/]],
    ['name: [\n', [/^2:1: /]],
    ['a: &x [*x]\n', [/expected the reason|unknown key|alias|circular/i]],
    [
      `${HEAD}machine: { memroy: 4G }\n`,
      [
        /^3:12: unknown key 'memroy'; did you mean 'memory'\? \(allowed: cpus, packages, memory, nodes\)/,
      ],
    ],
    [
      `${HEAD}machine: { memory: [1] }\n`,
      [/^3:20: expected the memory of the machine such as 512M/],
    ],
    [`${HEAD}machine: { memory: 4X }\n`, [/^3:20: .* found '4X'/]],
    [
      `${HEAD}machine: { memory: 256M }\n`,
      [/^3:20: expected at least 512M .* found 256M/],
    ],
    [`${HEAD}machine: {}\n`, [/^3:10: expected 'memory' .* or 'nodes'/]],
    [
      `${HEAD}machine: { memory: 4G, nodes: [{ memory: 4G }] }\n`,
      [/^3:20: 'memory' and 'nodes' exclude each other/],
    ],
    [`${HEAD}machine: { memory: 4G, cpus: two }\n`, [/^3:30: .*expected/i]],
    [
      `${HEAD}machine: { memory: 4G, cpus: 3, packages: 2 }\n`,
      [/^3:43: 3 CPUs cannot be spread/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0-1 }\n    - { memory: 1G, cpus: 1 }\n`,
      [/^6:27: CPU 1 is on node 0 and on node 1/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0-7 }\n`,
      [/^5:27: CPU 2 does not exist/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G, cpus: 0 }\n`,
      [/^5:5: CPU 1 is on no node/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G }\n    - { memory: 1G, start: 512M }\n`,
      [/^6:28: node 1 at .* overlaps node 0/],
    ],
    [
      `${HEAD}machine:\n  nodes:\n    - { memory: 1G }\n    - { memory: 1G, start: 3G }\n`,
      [/^6:28: node 1 starts at 0x40000000 on this machine/],
    ],
    [
      `${HEAD}kernels: [on]\nmachine: { memory: 1G }\n`,
      [/^3:11: there is no kernel 'on'; did you mean 'one'\?/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { memmap: ['64M?1G'] }\n`,
      [
        /^4:21: memmap=64M\?1G: the kernel would not parse '64M\?1G': unknown operator/,
      ],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { memmap: '64M$1G' }\n`,
      [/^4:20: expected a list such as/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['console=tty0'] }\n`,
      [/^4:21: 'console' is set by the rig/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ncmdline: { append: ['mem=x'] }\n`,
      [/^4:21: 'x': expected a size/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { module: 1.5 }\n`,
      [/^4:16: expected '1.5' or 'none' \(in quotes/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\ntdx: { cmrs: [{ start: 2G, end: 1G }] }\n`,
      [/^4:15: expected start below end/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nexpect: { tdx: initialised }\n`,
      [/^4:16: .*initialized/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpu: [1] }\n`,
      [/^4:11: unknown key 'cpu'; did you mean 'cpus'/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: [1, 0] }\n`,
      [/^4:29: /],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: 3 }\n`,
      [/^4:25: expected a list of values/],
    ],
    [
      `${HEAD}machine: { memory: 1G }\nmatrix: { machine.cpus: [1, 1] }\n`,
      [/^4:\d+: two combinations are the same case/],
    ],
    [
      `name: 1\nmachine: { memory: 1G }\nfoo: 2\n`,
      [
        /expected a short name/,
        /expected the reason/,
        /^3:1: unknown key 'foo'/,
      ],
    ],
  ]
  for (const [text, messages] of cases) {
    const found = await complaints(t, text)
    for (const message of messages)
      t.ok(
        found.some(line => message.test(line)),
        `${message}`,
        { found, text },
      )
  }
})

t.test('the caret stands under the mistake', async t => {
  try {
    await load(t, `${HEAD}machine: { memroy: 4G }\n`)
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

t.test('an alias bomb is refused', async t => {
  const levels = Array.from(
    { length: 9 },
    (_, i) =>
      `a${i}: &a${i} [${Array(9)
        .fill(i ? `*a${i - 1}` : 'x')
        .join(', ')}]`,
  )
  t.match(await complaints(t, `${levels.join('\n')}\n`), [/alias/i])
})
