import { join } from 'node:path'
import t from 'tap'
import { bzImageVersion, isSameBuild } from './bzimage.ts'
import { droppedOptions, parseOptions } from './config.ts'
import { errorLines } from './make.ts'
import {
  builtRecipes,
  isCompiledAgain,
  loadRecipe,
  recipeNames,
} from './recipe.ts'

t.test('options of a .config, and those that were dropped', async t => {
  const asked = parseOptions(
    'CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D="x"\nnoise\n',
  )
  t.same(
    [...asked],
    [
      ['A', 'y'],
      ['B', 'm'],
      ['C', 'n'],
      ['D', '"x"'],
    ],
  )
  t.same(
    droppedOptions(
      asked,
      parseOptions('CONFIG_A=y\nCONFIG_C=y\nCONFIG_D="x"\n'),
    ),
    [
      { name: 'B', asked: 'm', got: 'n' },
      { name: 'C', asked: 'n', got: 'y' },
    ],
  )
})

t.test('the lines of a build log that say why', async t => {
  const log = [
    '  CC a.o',
    'a.c:3:1: error: expected ;',
    'make[2]: *** [a.o] Error 1',
    '  CC b.o',
  ].join('\n')
  t.same(errorLines(log), [
    'a.c:3:1: error: expected ;',
    'make[2]: *** [a.o] Error 1',
  ])
  t.same(
    errorLines('one\ntwo\n'),
    ['one', 'two'],
    'the tail when nothing says error',
  )
  t.same(errorLines("x.o: in function f: undefined reference to `g'").length, 1)
})

t.test('what Debian ships unpatched is compiled once', async t => {
  for (const [name, again] of [
    ['upstream-6.12-plain', false],
    ['upstream-6.12', true],
    ['v6-6.1', true],
    ['mainline-7.3', false],
  ] as const)
    t.equal(isCompiledAgain(await loadRecipe(name)), again, name)
  const [built] = builtRecipes(['/boot/vmlinux'])
  t.equal(isCompiledAgain(built!), true)
})

t.test('the shipped recipes load', async t => {
  const names = await recipeNames()
  t.ok(names.includes('upstream-6.12'))
  for (const name of names)
    t.match(await loadRecipe(name), { kind: 'source', name })
  await t.rejects(
    loadRecipe('upstream-6.13'),
    /no kernel 'upstream-6.13'; did you mean 'upstream-6.12'/,
  )
})

t.test('a bzImage says of which build it is', async t => {
  const banner = 'Linux version 6.1.2 (a@b) (gcc 12, GNU ld) #3 SMP Thu Jan 1'
  t.ok(isSameBuild(banner, '6.1.2 (a@b) #3 SMP Thu Jan 1'))
  for (const other of [
    '6.1.2 (a@b) #2 SMP Thu Jan 1',
    '6.1.20 (a@b) #3 SMP Thu Jan 1',
    'garbage',
    undefined,
  ])
    t.notOk(isSameBuild(banner, other), other ?? 'none')
  const folder = t.testdir({ short: 'x', none: 'y'.repeat(1000) })
  t.equal(await bzImageVersion(join(folder, 'short')), undefined)
  t.equal(await bzImageVersion(join(folder, 'none')), undefined)
})

t.test('folders are told apart by where they lie', async t => {
  t.same(
    builtRecipes(['/a/build', '/b/build/', '/c/linux']).map(({ name }) => name),
    ['build-a-build', 'build-b-build', 'build-linux'],
  )
})
