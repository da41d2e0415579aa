import { mkdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { InfraError, UsageError, messageOf } from '../base/errors.ts'
import { withLock } from '../base/lock.ts'
import { cacheRoot, isThere } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import { Apt, type Wanted, filesIn } from './apt.ts'
import type { OnProgress } from './make.ts'
import type { Source } from './recipe.ts'

/**
 * Sources and kernels from packages of Debian: installed, or of a suite that
 * this system does not use.
 */

type DebianSource = Extract<Source, { kind: 'debian' }>

/** The tarball of a `linux-source-*` package that is installed. */
const installed = (name: string): string => `/usr/src/${name}.tar.xz`

/** Where what was fetched of a suite is kept. */
const suiteFolder = (suite: string): string =>
  join(cacheRoot(), 'debian', suite)

/**
 * The tarball of a package: the installed one, else the newest that was
 * fetched.
 *
 * @returns undefined when there is none
 */
export const debianTarball = async ({
  package: name,
  suite,
}: DebianSource): Promise<string | undefined> => {
  if (await isThere(installed(name))) return installed(name)
  if (suite === undefined) return undefined
  const fetched = (await filesIn(suiteFolder(suite)))
    .filter(file => file.startsWith(`${name}_`) && file.endsWith('.tar.xz'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
  const newest = fetched.at(-1)
  return newest === undefined ? undefined : join(suiteFolder(suite), newest)
}

/** What to do when {@link debianTarball} finds nothing. */
export const howToGet = ({ package: name, suite }: DebianSource): string =>
  suite === undefined
    ? `expected ${installed(name)}; install it with 'apt-get install ${name}' or run ./scripts/setup`
    : `expected ${installed(name)}, or ${name} of ${suite} in ${suiteFolder(suite)}; fetch it with 'tdxrig kernel fetch'`

export interface FetchOptions {
  readonly onProgress: OnProgress
  readonly signal?: AbortSignal | undefined
}

/**
 * Fetches the newest version of a package, unless it is here. A download that
 * broke off goes on where it was.
 *
 * @returns the path of the tarball
 * @throws UsageError for a suite, package or signature that is not as expected
 * @throws InfraError when the archive cannot be reached
 */
export const fetchDebianSource = (
  source: Wanted,
  options: FetchOptions,
): Promise<string> =>
  inSuite(source, options, async (apt, folder) => {
    const { onProgress, signal } = options
    const version = await apt.newest()
    const path = join(folder, `${source.package}_${version}.tar.xz`)
    if (await isThere(path)) return path
    onProgress({ phase: `fetch ${source.package} ${version}`, files: 0 })
    const archive = await apt.download()
    onProgress({
      phase: `take ${source.package} out of its package`,
      files: 0,
    })
    await takeOut(source, { archive, path, signal })
    await rm(join(folder, 'apt/archives'), { recursive: true, force: true })
    return path
  })

/** A kernel package that was fetched. */
export interface DebianKernel {
  /** Of the package that holds the kernel. */
  readonly name: string
  readonly version: string
  readonly path: string
}

/**
 * Fetches the newest kernel of a suite, unless it is here. A package such as
 * linux-image-amd64 holds none: it depends on the one that does.
 *
 * @throws as {@link fetchDebianSource} does
 */
export const fetchDebianKernel = (
  wanted: Wanted,
  options: FetchOptions,
): Promise<DebianKernel> =>
  inSuite(wanted, options, async (lists, folder) => {
    const apt = await lists.ofKernel()
    const version = await apt.newest()
    const { name } = apt
    const path = join(folder, `${name}_${version}.deb`)
    if (!(await isThere(path))) {
      options.onProgress({ phase: `fetch ${name} ${version}`, files: 0 })
      await rename(await apt.download(), path)
    }
    return { name, version, path }
  })

/** Does something with the newest lists of a suite; one process at a time. */
const inSuite = async <T>(
  wanted: Wanted,
  { onProgress, signal }: FetchOptions,
  action: (apt: Apt, folder: string) => Promise<T>,
): Promise<T> => {
  const folder = suiteFolder(wanted.suite)
  await mkdir(join(folder, 'apt/lists/partial'), { recursive: true })
  return withLock(
    join(folder, 'lock'),
    async () => {
      const apt = await Apt.open(wanted, folder, signal)
      onProgress({
        phase: `read the package list of ${wanted.suite}`,
        files: 0,
      })
      await apt.update()
      return action(apt, folder)
    },
    {
      signal,
      onWait: () => {
        onProgress({ phase: 'wait for another fetch', files: 0 })
      },
    },
  )
}

/** Appears as a whole. */
const takeOut = async (
  { package: name }: Wanted,
  {
    archive,
    path,
    signal,
  }: {
    readonly archive: string
    readonly path: string
    readonly signal: AbortSignal | undefined
  },
): Promise<void> => {
  const partial = `${path}.partial`
  const unpacked = join(partial, installed(name))
  try {
    await execa('dpkg-deb', ['--extract', archive, partial], {
      stdin: 'ignore',
      ...(signal && { cancelSignal: signal }),
    })
    await rename(unpacked, path)
  } catch (error) {
    if (signal?.aborted)
      throw new InfraError('INTERRUPTED', 'interrupted while: dpkg-deb')
    throw new UsageError(
      'SOURCE_PACKAGE',
      `expected ${installed(name)} in ${archive}: ${visible(messageOf(error)).slice(0, 200)}`,
      { cause: error },
    )
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}
