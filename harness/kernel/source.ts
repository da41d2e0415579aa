import { createHash } from 'node:crypto'
import { mkdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { ExecaError, execa } from 'execa'
import { InfraError, RigError, UsageError, messageOf } from '../base/errors.ts'
import { sweep, withLock } from '../base/lock.ts'
import { memoized, sha256OfFile } from '../base/memo.ts'
import { cacheRoot, findProgram, isThere } from '../base/paths.ts'
import { applyPatch } from './apply.ts'
import {
  type FetchOptions,
  debianTarball,
  fetchDebianSource,
  howToGet,
} from './debian-source.ts'
import type { BuildLog } from './make.ts'
import type { Source, SourceRecipe } from './recipe.ts'

/**
 * Identifies the source a recipe starts from: SHA-256 of a tarball, or the
 * commit.
 *
 * @throws InfraError when a package or a program is missing
 * @throws UsageError when the recipe names something that is not there
 */
export const sourceKey = async ({
  name,
  source,
}: Pick<SourceRecipe, 'name' | 'source'>): Promise<string> => {
  if (source.kind === 'git') return commitOf(name, source)
  try {
    return await memoized(await tarballOf(name, source), 'sha256', sha256OfFile)
  } catch (error) {
    if (error instanceof RigError) throw error
    throw new UsageError(
      'NO_SOURCE',
      `the source of kernel '${name}' is missing: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

/** @throws InfraError when the package is not here */
const tarballOf = async (
  name: string,
  source: Exclude<Source, { kind: 'git' }>,
): Promise<string> => {
  if (source.kind === 'tarball') return source.path
  const path = await debianTarball(source)
  if (path !== undefined) return path
  throw new InfraError(
    'NO_SOURCE',
    `the source of kernel '${name}' is missing: ${howToGet(source)}`,
  )
}

/** It is not here, the archive does not have it, or another file instead. */
const MISSING: ReadonlySet<string> = new Set([
  'NO_SOURCE',
  'NO_SUITE',
  'NO_PACKAGE',
  'SIGNATURE',
])

/** A kernel whose source cannot be had: others can still be built. */
export const isMissingSource = (error: unknown): error is RigError =>
  error instanceof RigError && MISSING.has(error.code)

/** Fetches what a source needs and what can be fetched; else does nothing. */
export const provideSource = async (
  source: Source,
  options: FetchOptions,
): Promise<void> => {
  if (source.kind !== 'debian') return
  const { suite } = source
  if (suite === undefined || (await debianTarball(source)) !== undefined) return
  await fetchDebianSource({ ...source, suite }, options)
}

/** The commit a name stands for now. @param name of the kernel, for messages */
export const commitOf = async (
  name: string,
  {
    repository,
    ref,
  }: Pick<Extract<Source, { kind: 'git' }>, 'repository' | 'ref'>,
): Promise<string> => {
  if ((await findProgram('git')) === undefined)
    throw new InfraError(
      'NO_GIT',
      `expected git in PATH for the source of kernel '${name}', found none: apt-get install git`,
    )
  try {
    const { stdout } = await execa('git', [
      '-C',
      repository,
      'rev-parse',
      '--verify',
      '--quiet',
      '--end-of-options',
      `${ref}^{commit}`,
    ])
    return stdout.trim()
  } catch (error) {
    const said = error instanceof ExecaError ? String(error.stderr).trim() : ''
    throw new UsageError(
      'NO_SOURCE',
      `the source of kernel '${name}' is missing: expected the commit '${ref}' in the git repository ${repository}, found none${said && ` (${said})`}`,
      { cause: error },
    )
  }
}

/** For the name of a folder. */
const labelOf = (source: Source): string => {
  switch (source.kind) {
    case 'debian':
      return source.package
    case 'git':
      return basename(source.repository).replace(/\.git$/, '')
    case 'tarball':
      return basename(source.path).replace(/\.tar\..*$/, '')
  }
}

/**
 * The unpacked and patched source of a recipe. It stays in the cache: builds
 * work on a copy, and it is what to read when a boot surprises. Patched trees
 * share the files they did not change with the one they start from.
 */
export const unpackSource = async (
  recipe: SourceRecipe,
  log: BuildLog,
): Promise<string> => {
  const key = await sourceKey(recipe)
  const original = await tree(recipe, createHash('sha256').update(key), log, {
    phase: `unpack ${labelOf(recipe.source)}`,
    fill: partial => unpack(recipe, key, partial, log),
  })
  if (recipe.patches.length === 0) return original
  const hash = createHash('sha256').update(key)
  for (const { content } of recipe.patches) hash.update(content)
  return tree(recipe, hash, log, {
    phase: `patch ${labelOf(recipe.source)}`,
    fill: async partial => {
      await linkTree(original, partial, log)
      for (const patch of recipe.patches) await applyPatch(patch, partial, log)
    },
  })
}

/**
 * Removes the unpacked tree of a recipe, which a bisect does not read again:
 * each commit of a kernel takes almost two gigabytes.
 */
export const dropSource = async (recipe: SourceRecipe): Promise<void> => {
  const hash = createHash('sha256').update(await sourceKey(recipe))
  const directory = treeFolder(recipe.source, hash.digest('hex'))
  await withLock(
    `${directory}.lock`,
    () => rm(directory, { recursive: true, force: true }),
    { onWait: () => undefined },
  )
  await rm(`${directory}.lock`, { force: true })
}

/** Where the tree with this hash is unpacked. */
const treeFolder = (source: Source, hash: string): string =>
  join(cacheRoot(), 'sources', `${labelOf(source)}-${hash.slice(0, 16)}`)

/**
 * A copy that shares all files: whoever writes to one must replace it, as
 * `patch` does.
 */
export const linkTree = async (
  from: string,
  to: string,
  log: BuildLog,
): Promise<void> => {
  await mkdir(to, { recursive: true })
  await log.run({
    phase: 'copy the source',
    file: 'cp',
    args: ['--archive', '--link', `${from}/.`, to],
    cwd: to,
  })
}

interface Filling {
  readonly phase: string
  readonly fill: (partial: string) => Promise<void>
}

/** A folder that appears as a whole; what a killed process left is removed. */
const tree = async (
  { source }: SourceRecipe,
  hash: ReturnType<typeof createHash>,
  log: BuildLog,
  { phase, fill }: Filling,
): Promise<string> => {
  const directory = treeFolder(source, hash.digest('hex'))
  const make = async (): Promise<void> => {
    if (await isThere(directory)) return
    log.announce(phase)
    const partial = `${directory}.partial`
    await sweep(dirname(directory))
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial)
    try {
      await fill(partial)
      await rename(partial, directory)
    } finally {
      await rm(partial, { recursive: true, force: true })
    }
  }
  await withLock(`${directory}.lock`, make, {
    onWait: () => undefined,
    signal: log.signal,
  })
  return directory
}

const unpack = async (
  { name, source }: SourceRecipe,
  key: string,
  partial: string,
  log: BuildLog,
): Promise<void> => {
  const phase = `unpack ${labelOf(source)}`
  if (source.kind !== 'git') {
    const path = await tarballOf(name, source)
    await log.run({
      phase,
      file: 'tar',
      args: [
        '-xf',
        path,
        '-C',
        partial,
        '--strip-components=1',
        '--no-same-owner',
      ],
      cwd: partial,
    })
    return
  }
  // In the folder: it goes with it when we are killed.
  const tarball = join(partial, '.tdxrig.tar')
  try {
    await log.run({
      phase,
      file: 'git',
      args: [
        '-C',
        source.repository,
        'archive',
        '--format=tar',
        `--output=${tarball}`,
        key,
      ],
      cwd: partial,
    })
    await log.run({
      phase,
      file: 'tar',
      args: ['-xf', tarball, '-C', partial, '--no-same-owner'],
      cwd: partial,
    })
  } finally {
    await rm(tarball, { force: true })
  }
}
