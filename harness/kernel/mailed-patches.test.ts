import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { useCacheIn } from '../testing/cache-folder.ts'
import { shortFolder } from '../testing/cli.ts'
import { applyPatch } from './apply.ts'
import { BuildLog } from './make.ts'
import { readRecipe } from './recipe.ts'
import { readPatches } from './mailed-patches.ts'
import { sourceKey, unpackSource } from './source.ts'

const git = (folder: string, ...args: string[]): string =>
  execFileSync(
    'git',
    [
      '-C',
      folder,
      '-c',
      'user.name=Jörg T',
      '-c',
      'user.email=j@example',
      ...args,
    ],
    {
      encoding: 'utf8',
      env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null' },
    },
  )

/** A repository with three commits behind the first, and its folder. */
const repository = (folder: string): string => {
  const tree = join(folder, 'tree')
  mkdirSync(tree)
  git(tree, 'init', '-q')
  const lines = Array.from({ length: 20 }, (_, i) => `line ${i + 1}`)
  const commit = (subject: string): void => {
    writeFileSync(join(tree, 'a.c'), `${lines.join('\n')}\n`)
    git(tree, 'add', 'a.c')
    git(tree, 'commit', '-q', '-m', subject)
  }
  commit('base')
  git(tree, 'tag', 'v1')
  for (const n of [2, 9, 16]) {
    lines[n] = `changed — ${n}`
    commit(`x86/virt/tdx: change ${n}`)
  }
  return tree
}

/** What a list delivers: cover letter, patches out of order, a reply. */
const mailbox = (tree: string, ...options: string[]): string => {
  const mails = git(
    tree,
    'format-patch',
    '--stdout',
    '--cover-letter',
    '-v6',
    ...options,
    'v1',
  ).split(/^(?=From [0-9a-f]{40} )/m)
  const [cover, first, second, third] = mails as [
    string,
    string,
    string,
    string,
  ]
  const reply = first
    .replace('Subject: [PATCH', 'Subject: Re: [PATCH')
    .replace(/^diff/m, 'Looks good.\ndiff')
  return [cover, second, reply, third, first].join('')
}

const quiet = (folder: string): BuildLog =>
  new BuildLog(join(folder, 'log'), () => undefined)

t.test('a series from an mbox is in the order of its numbers', async t => {
  const folder = shortFolder(t)
  const tree = repository(folder)
  const path = join(folder, 'series.mbox')
  for (const encoding of [[], ['--attach']]) {
    writeFileSync(path, mailbox(tree, ...encoding))
    const patches = await readPatches(path)
    t.same(
      patches.map(({ name }) => name),
      [2, 9, 16].map(
        (n, i) => `[PATCH v6 ${i + 1}/3] x86/virt/tdx: change ${n}`,
      ),
    )
    git(tree, 'checkout', '-q', 'v1')
    for (const patch of patches) await applyPatch(patch, tree, quiet(folder))
    t.match(readFileSync(join(tree, 'a.c'), 'utf8'), /^changed — 16$/m)
    git(tree, 'checkout', '-q', '-f', 'master')
  }
})

t.test('archives zip, robots talk, and numbers are written oddly', async t => {
  const folder = shortFolder(t)
  const mbox = mailbox(repository(folder))
  const robot = mbox
    .slice(mbox.lastIndexOf('\nFrom ') + 1)
    .replace('[PATCH v6 1/3] x86', '[tip: x86/tdx] x86')
  const odd = (mbox + robot).replaceAll(/PATCH v6 (\d\/3)/g, 'PATCH $1 v6')
  writeFileSync(join(folder, 't.mbox.gz'), gzipSync(odd))
  writeFileSync(join(folder, 'thread'), odd)
  for (const name of ['t.mbox.gz', 'thread'])
    t.same(
      (await readPatches(join(folder, name))).map(patch => patch.name),
      [2, 9, 16].map(
        (n, i) => `[PATCH ${i + 1}/3 v6] x86/virt/tdx: change ${n}`,
      ),
    )
})

t.test('a series that is not complete is refused', async t => {
  const folder = shortFolder(t)
  const whole = mailbox(repository(folder))
  const path = join(folder, 'series.mbox')
  const cases: [name: string, mbox: string, message: RegExp][] = [
    [
      'one is missing',
      whole.replace(/^From (?:(?!^From )[^])*?2\/3\][^]*?(?=^From )/m, ''),
      /patch 2 of 3 is missing/,
    ],
    [
      'two versions',
      whole + whole.replaceAll('PATCH v6', 'PATCH v5'),
      /there are 2 patches 1 of 3: '\[PATCH v6 1\/3\].*keep one version/,
    ],
    [
      'a unknown',
      whole.replace('[PATCH v6 3/3]', '[PATCH]'),
      /'\[PATCH\] x86.*' has no number/,
    ],
    [
      'no patch',
      'From x Mon Sep 17 00:00:00 2001\nSubject: hi\n\ntext\n',
      /at least one mail with a patch, found 1/,
    ],
  ]
  for (const [name, mbox, message] of cases) {
    writeFileSync(path, mbox)
    await t.rejects(readPatches(path), { code: 'PATCH_SERIES', message }, name)
  }
  await t.rejects(readPatches(join(folder, 'none.mbox')), { code: 'ENOENT' })
})

t.test('a patch that does not apply is shown with its hunk', async t => {
  const folder = shortFolder(t)
  const tree = repository(folder)
  const text = git(tree, 'format-patch', '--stdout', '-1', 'HEAD~1')
  const patch = { name: 'p', path: '/x/p.patch', content: Buffer.from(text) }
  await t.rejects(applyPatch(patch, tree, quiet(folder)), {
    code: 'PATCH_REJECTED',
    message: /Reversed \(or previously applied\) patch detected/,
  })
  git(tree, 'checkout', '-q', 'v1')
  const a = join(tree, 'a.c')
  writeFileSync(a, readFileSync(a, 'utf8').replace('line 9', 'another'))
  await t.rejects(applyPatch(patch, tree, quiet(folder)), {
    code: 'PATCH_REJECTED',
    message:
      /the patch 'p' does not apply \(\/x\/p\.patch\):\n {2}a\.c: Hunk #1 FAILED at 7\.\n {2}@@ -7,7 \+7,7 @@(?:.*\n)* {2}-line 10\n {2}\+changed — 9\n/,
  })
  await t.rejects(
    applyPatch(
      { ...patch, content: Buffer.from(text.replaceAll('a.c', 'b.c')) },
      tree,
      quiet(folder),
    ),
    { code: 'PATCH_REJECTED', message: /can't find file/ },
  )
  await t.rejects(
    applyPatch(
      { ...patch, content: Buffer.from('garbage\n') },
      tree,
      quiet(folder),
    ),
    { code: 'PATCH_REJECTED', message: /Only garbage/ },
  )
})

t.test('patches are taken byte by byte, and must be patches', async t => {
  const folder = shortFolder(t)
  const tree = repository(folder)
  const path = join(folder, 'p.patch')
  writeFileSync(
    path,
    Buffer.from(
      '--- a/a.c\n+++ b/a.c\n@@ -20 +20 @@\n-line 20\n+caf\xe9\n',
      'latin1',
    ),
  )
  const [patch] = await readPatches(path)
  await applyPatch(patch!, tree, quiet(folder))
  t.match(readFileSync(join(tree, 'a.c'), 'latin1'), /^caf\xe9$/m)
  writeFileSync(path, '')
  await t.rejects(readPatches(path), { message: /found no diff in it/ })
  execFileSync('mkfifo', [join(folder, 'fifo')])
  await t.rejects(readPatches(join(folder, 'fifo')), {
    message: /found something else/,
  })
  writeFileSync(path, Buffer.from('1f8b08000000', 'hex'))
  await t.rejects(readPatches(path), { message: /expected a gzipped mbox/ })
})

const CONFIG = `config: { base: allnoconfig, fragments: [f] }\n`

t.test('source from git and from a tarball, patched', async t => {
  const folder = shortFolder(t)
  const tree = repository(folder)
  useCacheIn(t, folder)
  execFileSync('tar', ['-czf', join(folder, 't.tar.gz'), '-C', folder, 'tree'])
  writeFileSync(join(folder, 'f'), 'CONFIG_X=y\n')
  writeFileSync(join(folder, 's.mbox'), mailbox(tree))
  const unpacked = async (yaml: string): Promise<string> => {
    const path = join(folder, 'kernel.yaml')
    writeFileSync(path, `why: w\n${CONFIG}${yaml}`)
    const recipe = await readRecipe('r', path)
    if (recipe.kind !== 'source') throw new Error('no source')
    t.match(await sourceKey(recipe), /^[0-9a-f]{40,64}$/)
    const result = await unpackSource(recipe, quiet(folder))
    t.equal(await unpackSource(recipe, quiet(folder)), result, 'kept')
    return readFileSync(join(result, 'a.c'), 'utf8')
  }
  const plain = await unpacked('source: { git: tree, ref: v1 }\n')
  t.match(plain, /^line 17$/m)
  const patched = await unpacked(
    'source: { git: tree, ref: v1 }\npatches: [s.mbox]\n',
  )
  t.match(patched, /^changed — 16$/m)
  t.equal(
    await unpacked('source: { git: tree, ref: v1 }\n'),
    plain,
    'the tree it started from is as it was',
  )
  t.equal(await unpacked('source: { tarball: t.tar.gz }\n'), patched)
  await t.rejects(unpacked('source: { git: tree, ref: v9 }\n'), {
    code: 'NO_SOURCE',
    message: /commit 'v9' in the git repository/,
  })
  await t.rejects(unpacked('source: { tarball: none.tar }\n'), {
    code: 'NO_SOURCE',
  })
})

t.test('what is wrong in a recipe is shown with its place', async t => {
  const folder = t.testdir({ f: 'CONFIG_X=y\n', 'bad.mbox': 'no mail' })
  const cases: [yaml: string, message: RegExp][] = [
    [
      `source: {}\n${CONFIG}`,
      /kernel\.yaml:2:9: expected one of debian, git, tarball, build, found none/,
    ],
    [`source: { git: x, build: y, ref: r }\n`, /found git and build/],
    [`source: { git: x }\n${CONFIG}`, /expected 'ref' beside 'git'/],
    [
      `source: { tarball: x, ref: r }\n${CONFIG}`,
      /:2:28: 'ref' belongs to 'git'/,
    ],
    [`source: { tarball: x }\n`, /expected 'config'/],
    [`source: { build: . }\n${CONFIG}`, /built already has its own/],
    [
      `source: { build: . }\npatches: [p]\n`,
      /:3:.*built already cannot be patched/,
    ],
    [
      `source: { debain: x }\n${CONFIG}`,
      /unknown key 'debain'; did you mean 'debian'/,
    ],
    [`source: { debian: linux }\n${CONFIG}`, /expected a package such as/],
    [
      `source: { tarball: x }\n${CONFIG}patches: [none.patch]\n`,
      /:4:11: cannot use .*none\.patch: ENOENT/,
    ],
    [
      `source: { tarball: x }\n${CONFIG}patches: [bad.mbox]\n`,
      /:4:11: cannot use .*bad\.mbox: /,
    ],
  ]
  for (const [yaml, message] of cases) {
    const path = join(folder, 'kernel.yaml')
    writeFileSync(path, `why: w\n${yaml}`)
    await t.rejects(readRecipe('r', path), { message }, yaml)
  }
  writeFileSync(join(folder, 'kernel.yaml'), 'why: w\nsource: { build: . }\n')
  t.match(await readRecipe('r', join(folder, 'kernel.yaml')), {
    kind: 'built',
    name: 'r',
    path: folder,
  })
})
