import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import { nightJsonSchema, readNightFile } from './plan-file.ts'
import { parseRecipe, recipeText } from './recipe-json.ts'

const GOOD = `name: mainline
machines:
  qemu: { qemu: auto }
  spr: { hosts: [spr], spread: each }
kernels:
  next: { git: ../linux, ref: master, like: mainline-7.3 }
  series: { mbox: series.mbox, like: upstream-6.12 }
  trixie: { debian: linux-image-amd64, suite: trixie }
runs:
  - scenarios: [scenarios]
    kernels: [next, mainline-7.3]
    machines: [qemu, spr]
budget: 8h
`

t.test('a night is read, with its paths where the file is', async t => {
  const folder = t.testdir({ 'night.yaml': GOOD })
  const file = await readNightFile(join(folder, 'night.yaml'))
  t.match(file, {
    name: 'mainline',
    label: 'mainline',
    budget: 8 * 3600 * 1000,
    failures: { same: 1, elsewhere: 1, errors: 3, bisect: 0 },
    kernels: {
      next: { kind: 'git', git: join(folder, '../linux') },
      trixie: { kind: 'debian', suite: 'trixie' },
    },
    machines: { spr: { hosts: ['spr'], spread: 'each' } },
    runs: [{ scenarios: [join(folder, 'scenarios')], every: 1, repeat: 1 }],
  })
})

t.test('everything that is wrong is told, at its place', async t => {
  const wrong: readonly (readonly [from: string, to: string, RegExp])[] = [
    ['name: mainline', 'name: a b', /night.yaml:1:7: .*letters, digits/],
    ['qemu: auto', 'qemu: xen', /:3:17: expected auto, tcg or kvm/],
    [
      '[qemu, spr]',
      '[qemo, spr]',
      /:12:16: there is no machine 'qemo'; did you mean 'qemu'/,
    ],
    [
      '[next,',
      '[nxt,',
      /:11:15: there is no kernel 'nxt'; did you mean 'next'/,
    ],
    [
      'like: mainline-7.3',
      'like: mainline-7.33',
      /there is no recipe 'mainline-7.33'/,
    ],
    ['budget: 8h', 'budget: 8 hours', /:13:9: expected a time from 1s to 72h/],
    ['budget: 8h', 'budget: 99h', /:13:9: expected a time from 1s to 72h/],
    ['next: { git', 'mainline-7.3: { git', /is a recipe already/],
    [
      'debian: linux-image-amd64',
      'debian: linux-source-6.12',
      /expected 'like'/,
    ],
    ['spread: each', 'spread: all', /:4:/],
    ['budget: 8h', 'bugdet: 8h', /bugdet/],
    [
      'scenarios: [scenarios]',
      'scenarios: []',
      /:10:16: expected at least one/,
    ],
    ['name: mainline', 'name: [', /night.yaml:/],
  ]
  for (const [from, to, message] of wrong) {
    t.ok(GOOD.includes(from), from)
    const folder = t.testdir({ 'night.yaml': GOOD.replace(from, to) })
    await t.rejects(
      readNightFile(join(folder, 'night.yaml')),
      {
        exitCode: 2,
        message,
      },
      to,
    )
  }
  const folder = t.testdir({
    'night.yaml': GOOD.replace('[qemu, spr]', '[a, b]').replace(
      '[next,',
      '[c,',
    ),
  })
  await t.rejects(readNightFile(join(folder, 'night.yaml')), {
    message: /'c'[^]*'a'[^]*'b'/,
  })
})

t.test('the schema for editors is the one in docs', async t => {
  const path = join(projectRoot(), 'docs/schemas/night.schema.json')
  t.same(JSON.parse(await readFile(path, 'utf8')), nightJsonSchema())
})

t.test('recipes travel whole', async t => {
  for (const name of ['mainline-7.3', 'v6-6.1', 'upstream-6.12']) {
    const recipe = await loadRecipe(name)
    const back = parseRecipe(recipeText(recipe))
    t.same(back, recipe, name)
  }
  t.throws(() => parseRecipe('{"kind":"source"}'))
})
