import {
  cpSync,
  mkdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { shortFolder } from '../testing/cli.ts'
import { buildKernel } from './build.ts'
import { kernelDirectory } from './cache.ts'
import { verifyConfig } from './config.ts'
import { BuildLog } from './make.ts'
import {
  type SourceRecipe,
  builtRecipes,
  loadRecipe,
  defaultRecipeNames,
} from './recipe.ts'
import { unpackSource } from './source.ts'

const sourceRecipe = async (name: string): Promise<SourceRecipe> => {
  const recipe = await loadRecipe(name)
  if (recipe.kind !== 'source') throw new Error(`${name} has no source`)
  return recipe
}

const quiet = { onProgress: () => undefined }

t.test('a second build comes from the cache', async t => {
  const recipe = await loadRecipe('upstream-6.12')
  const first = await buildKernel(recipe, quiet)
  const phases: string[] = []
  const second = await buildKernel(recipe, {
    onProgress: ({ phase }) => phases.push(phase),
  })
  t.same(second, first)
  t.same(phases, [], 'nothing was done')
})

t.test('an option Kconfig drops is named with what it depends on', async t => {
  const folder = shortFolder(t)
  const recipe = await sourceRecipe('upstream-6.12')
  const { config } = await buildKernel(recipe, quiet)
  const source = await unpackSource(
    recipe,
    new BuildLog(join(folder, 'log'), () => undefined),
  )
  cpSync(config!, join(folder, '.config'))
  await verifyConfig(source, folder, recipe.fragments)
  const asked = [
    {
      path: 'x',
      text: 'CONFIG_X86_PMEM_LEGACY=y\nCONFIG_NO_SUCH_THING=y\nCONFIG_SMP=y\n',
    },
  ]
  await t.rejects(verifyConfig(source, folder, asked), {
    code: 'CONFIG_DROPPED',
    message:
      /take 2 of the requested options:\n {2}CONFIG_X86_PMEM_LEGACY: asked for y, got n \(depends on .*BLK_DEV=n\)\n {2}CONFIG_NO_SUCH_THING: .*no such option/,
  })
})

t.test('a build that fails says why, and keeps the log', async t => {
  const folder = shortFolder(t)
  mkdirSync(join(folder, 'w'))
  writeFileSync(join(folder, 'w', 'a.c'), 'int f(void) { return g }\n')
  writeFileSync(
    join(folder, 'w', 'Makefile'),
    'a.o:\n\t@echo "  CC      a.o"\n\t@gcc -c a.c\n',
  )
  const seen: number[] = []
  const log = new BuildLog(join(folder, 'log'), ({ files }) => seen.push(files))
  await t.rejects(log.make('compile', join(folder, 'w'), []), {
    code: 'BUILD_FAILED',
    message:
      /^compile failed \(exit code 2\):\n(?: {2}.*\n)*? {2}a\.c:1:\d+: error: .*[^]*the whole log: .*log$/,
  })
  t.ok(seen.includes(1), 'files are counted')
})

t.test('our patches are as kernel patches have to be', async t => {
  const folder = shortFolder(t)
  for (const name of await defaultRecipeNames()) {
    const recipe = await sourceRecipe(name)
    if (recipe.patches.length === 0) continue
    const source = await unpackSource(
      recipe,
      new BuildLog(join(folder, 'log'), () => undefined),
    )
    for (const { name: patch, path, content } of recipe.patches) {
      const { stdout } = await execa(
        'perl',
        ['scripts/checkpatch.pl', '--strict', '--no-color', path],
        { cwd: source, reject: false },
      )
      t.match(stdout, /^total: 0 errors, /m, `${name}: ${patch}`, { stdout })
      t.match(content.toString(), /^Signed-off-by: /m)
    }
  }
})

/** The folder of a kernel as somebody would put it together by hand. */
const handMade = async (t: Test, name: string): Promise<string> => {
  const folder = shortFolder(t)
  const { vmlinux, bzImage, config } = await buildKernel(
    await loadRecipe(name),
    quiet,
  )
  symlinkSync(vmlinux, join(folder, 'vmlinux'))
  symlinkSync(bzImage!, join(folder, 'bzImage'))
  symlinkSync(config!, join(folder, 'config'))
  return folder
}

t.test('a kernel somebody built, without a tree to build against', async t => {
  const folder = await handMade(t, 'v6-6.1')
  const built = await buildKernel(builtRecipes([folder])[0]!, quiet)
  t.match(built, {
    vmlinux: join(folder, 'vmlinux'),
    bzImage: join(folder, 'bzImage'),
    config: join(folder, 'config'),
    trigger: undefined,
    noTrigger: /no Makefile/,
  })
  const entry = (): number =>
    statSync(kernelDirectory(built.name, built.key)).ino
  const before = entry()
  t.same(await buildKernel(builtRecipes([folder])[0]!, quiet), built)
  t.equal(entry(), before, 'from the cache')
  writeFileSync(join(folder, '.config'), '# CONFIG_MODULES is not set\n')
  rmSync(join(folder, 'vmlinux'))
  rmSync(join(folder, 'bzImage'))
  await t.rejects(buildKernel(builtRecipes([folder])[0]!, quiet), {
    code: 'KERNEL_BUILD',
    message: /found no vmlinux and no vmlinuz there: give a folder in which/,
  })
})
