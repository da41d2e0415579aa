import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DEFAULT_BOARD } from '../board/index.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { shortFolder } from '../testing/cli.ts'
import { type CellOptions, planCells } from './cells.ts'
import type { Target } from './plan-file.ts'

t.test('cases of machines that are not there are told', async t => {
  const file = join(shortFolder(t), 'one.yaml')
  writeFileSync(
    file,
    'name: one\nwhy: w\nmachine: { memory: 1G }\nexpect: { tdx: predicted }\n',
  )
  const kernel = 'mainline-7.3'
  const recipe = await loadRecipe(kernel)
  const plan = (target: Target, changes: Partial<CellOptions>) =>
    planCells(
      {
        machines: { lab: target },
        runs: [
          {
            scenarios: [file],
            kernels: [kernel],
            machines: ['lab'],
            every: 1,
            repeat: 1,
          },
        ],
      },
      {
        kernels: [
          {
            name: kernel,
            recipe,
            like: kernel,
            origin: null,
          },
        ],
        turn: 0,
        board: DEFAULT_BOARD,
        hosts: [],
        absent: [],
        unoffered: new Map(),
        estimates: new Map(),
        ...changes,
      },
    )
  const absent = [{ name: 'spr-1', labels: ['spr'], why: 'no answer' }]
  const any: Target = { hosts: ['spr'], spread: 'any' }
  const each: Target = { hosts: ['spr'], spread: 'each' }
  for (const [target, changes, expected] of [
    [{ qemu: 'tcg' }, {}, { places: ['qemu-tcg'], isOffered: true }],
    [
      { qemu: 'kvm' },
      { unoffered: new Map([['lab', 'no KVM']]) },
      { places: [], isOffered: false, note: 'no KVM' },
    ],
    [
      any,
      {},
      { isOffered: false, note: 'no worker offers spr', target: 'lab' },
    ],
    [
      any,
      { absent },
      { isOffered: false, note: 'host spr-1: no answer', target: 'lab' },
    ],
    [
      each,
      { absent },
      { isOffered: false, note: 'host spr-1: no answer', target: 'spr-1' },
    ],
  ] as const)
    t.match(await plan(target, changes), [expected])
})
