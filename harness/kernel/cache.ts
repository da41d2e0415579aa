import { createHash } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { InfraError } from '../base/errors.ts'
import { cacheRoot, findProgram, projectRoot } from '../base/paths.ts'
import { memoized, sha256OfFile } from '../base/memo.ts'
import type { Recipe } from './recipe.ts'

/** Raise when the way of building changes what comes out. */
const FORMAT = 2

/** A kernel as it lies in the cache. */
export interface BuiltKernel {
  readonly name: string
  /** Hash of everything that entered the build. */
  readonly key: string
  /** ELF image with symbols; also what QEMU boots through PVH. */
  readonly vmlinux: string
  readonly bzImage: string
  readonly config: string
  /** Our trigger module, built against this kernel. */
  readonly trigger: string
  /** Our init program. */
  readonly init: string
}

const kernelsRoot = (): string => join(cacheRoot(), 'kernels')

export const logsRoot = (): string => join(cacheRoot(), 'logs')

export const kernelDirectory = (name: string, key: string): string =>
  join(kernelsRoot(), `${name}-${key.slice(0, 16)}`)

export const builtKernel = (
  name: string,
  key: string,
  directory: string,
): BuiltKernel => ({
  name,
  key,
  vmlinux: join(directory, 'vmlinux'),
  bzImage: join(directory, 'bzImage'),
  config: join(directory, 'config'),
  trigger: join(directory, 'tdxrig_trigger.ko'),
  init: join(directory, 'init'),
})

/** Names and sizes of the artefacts, to know a damaged entry. */
const MANIFEST = 'manifest.json'

const artefacts = (kernel: BuiltKernel): string[] => [
  ...[kernel.vmlinux, kernel.bzImage, kernel.config],
  ...[kernel.trigger, kernel.init],
]

const sizesOf = (kernel: BuiltKernel): Promise<number[]> =>
  Promise.all(artefacts(kernel).map(async path => (await stat(path)).size))

/** Completes an entry, before it is moved to its place. */
export const writeManifest = async (
  kernel: BuiltKernel,
  directory: string,
): Promise<void> => {
  const sizes = await sizesOf(kernel)
  await writeFile(join(directory, MANIFEST), JSON.stringify({ sizes }))
}

/**
 * A kernel that is in the cache, or undefined. Entries appear as a whole; one
 * that was damaged since counts as missing and is built again.
 */
export const cachedKernel = async (
  name: string,
  key: string,
): Promise<BuiltKernel | undefined> => {
  const directory = kernelDirectory(name, key)
  const kernel = builtKernel(name, key, directory)
  try {
    const manifest = await readFile(join(directory, MANIFEST), 'utf8')
    const sizes = await sizesOf(kernel)
    return manifest === JSON.stringify({ sizes }) ? kernel : undefined
  } catch {
    return undefined
  }
}

/** The tarball of a `linux-source-*` package. */
export const sourceTarball = (debianPackage: string): string =>
  `/usr/src/${debianPackage}.tar.xz`

/** SHA-256 of the source a recipe starts from. */
export const sourceKey = async (recipe: Recipe): Promise<string> => {
  const path = sourceTarball(recipe.debianPackage)
  try {
    return await memoized(path, 'sha256', sha256OfFile)
  } catch (error) {
    throw new InfraError(
      'NO_SOURCE',
      `the source of kernel '${recipe.name}' is missing: expected ${path}; install it with 'apt-get install ${recipe.debianPackage}' or run ./scripts/setup`,
      { cause: error },
    )
  }
}

/** Sources of ours that are built into the artefacts. */
const OWN_SOURCES = [
  'images/init/init.c',
  'images/trigger/Kbuild',
  'images/trigger/tdxrig_trigger.c',
]

/** The hash of everything that enters a build. */
export const kernelKey = async (recipe: Recipe): Promise<string> => {
  const own = await Promise.all(
    OWN_SOURCES.map(path => readFile(join(projectRoot(), path), 'utf8')),
  )
  const parts = {
    format: FORMAT,
    source: await sourceKey(recipe),
    base: recipe.configBase,
    fragments: recipe.fragments.map(({ text }) => text),
    patches: recipe.patches.map(({ text }) => text),
    own,
    toolchain: await toolchain(),
  }
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}

/** Versions of compiler and linker, as they print them. */
const toolchain = (): Promise<string[]> =>
  Promise.all(
    ['gcc', 'ld'].map(async tool => {
      const path = await findProgram(tool)
      if (path === undefined)
        throw new InfraError(
          'NO_TOOLCHAIN',
          `expected ${tool} in PATH, found none: run ./scripts/setup`,
        )
      return memoized(path, 'version', async real => {
        const { stdout } = await execa(real, ['--version'])
        return stdout.split('\n')[0]!
      })
    }),
  )
