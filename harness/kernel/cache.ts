import { createHash } from 'node:crypto'
import { readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { memoized, sha256OfFile } from '../base/memo.ts'
import { cacheRoot, isThere, projectRoot } from '../base/paths.ts'
import { toolchain } from '../base/toolchain.ts'
import type { BuildLog } from './make.ts'
import type { SourceRecipe } from './recipe.ts'
import { sourceKey } from './source.ts'

/** Raise when the way of building changes what comes out. */
const FORMAT = 5

/** A kernel and what the rig built for it. Paths; undefined: there is none. */
export interface BuiltKernel {
  readonly name: string
  /** Hash of everything that entered the build. */
  readonly key: string
  /** ELF image with symbols. */
  readonly vmlinux: string
  readonly bzImage: string | undefined
  readonly config: string | undefined
  /** Our trigger module, built against this kernel. */
  readonly trigger: string | undefined
  /** The kernel's own device for updates of the TDX module. */
  readonly tdxHost: string | undefined
  /** Why there is no trigger module. */
  readonly noTrigger: string | undefined
  /** Folder with the sources of the kernel's TDX host support. */
  readonly tdxSources: string | undefined
  /** Folder with what gcov needs of it; undefined: it counts no lines. */
  readonly coverage: string | undefined
}

/** How a kernel gets into the cache. */
export interface CacheEntry {
  readonly name: string
  readonly key: string
  /** Undefined: it must be built. */
  readonly find: () => Promise<BuiltKernel | undefined>
  /** What is there after it was built. */
  readonly load: () => Promise<BuiltKernel | undefined>
  /** Puts everything into `result`; `work` is a folder to build in. */
  readonly fill: (result: string, work: string, log: BuildLog) => Promise<void>
}

const kernelsRoot = (): string => join(cacheRoot(), 'kernels')

export const logsRoot = (): string => join(cacheRoot(), 'logs')

export const kernelDirectory = (name: string, key: string): string =>
  join(kernelsRoot(), `${name}-${key.slice(0, 16)}`)

/** Names of what lies in the folder of a kernel. */
export const ARTEFACT = {
  vmlinux: 'vmlinux',
  bzImage: 'bzImage',
  config: 'config',
  trigger: 'tdxrig_trigger.ko',
  /** The kernel's own device for updates of the module. */
  tdxHost: 'tdx-host.ko',
  /** Text: why there is no trigger. */
  noTrigger: 'no-trigger.txt',
  tdxSources: 'tdx',
  /** Notes of the compiler (.gcno), and the sources they are about. */
  coverage: 'coverage',
} as const

/** Where the kernel's TDX host support stands in a source tree. */
export const TDX_SOURCES = 'arch/x86/virt/vmx/tdx'

/** Names and sizes of all files, to know a damaged entry. */
const MANIFEST = 'manifest.json'

const sizesIn = async (directory: string): Promise<string> => {
  const entries = await readdir(directory, {
    recursive: true,
    withFileTypes: true,
  })
  const files = entries
    .filter(entry => entry.isFile())
    .map(entry => relative(directory, join(entry.parentPath, entry.name)))
    .filter(name => name !== MANIFEST)
    .sort()
  const sizes = files.map(
    async name => [name, (await stat(join(directory, name))).size] as const,
  )
  return JSON.stringify(Object.fromEntries(await Promise.all(sizes)))
}

/** Completes an entry, before it is moved to its place. */
export const writeManifest = async (directory: string): Promise<void> => {
  await writeFile(join(directory, MANIFEST), await sizesIn(directory))
}

/**
 * What an entry of the cache holds, or undefined when there is none. Entries
 * appear as a whole; one that was damaged since counts as missing and is built
 * again.
 *
 * @param folder where kernel, symbols and configuration are, if not in the
 *   entry itself
 */
export const cachedKernel = async (
  name: string,
  key: string,
  folder: Partial<Pick<BuiltKernel, 'vmlinux' | 'bzImage' | 'config'>> = {},
): Promise<BuiltKernel | undefined> => {
  const directory = kernelDirectory(name, key)
  try {
    const manifest = await readFile(join(directory, MANIFEST), 'utf8')
    if (manifest !== (await sizesIn(directory))) return undefined
  } catch {
    return undefined
  }
  const at = async (file: string): Promise<string | undefined> => {
    const path = join(directory, file)
    return (await isThere(path)) ? path : undefined
  }
  const reason = await at(ARTEFACT.noTrigger)
  return {
    name,
    key,
    vmlinux: folder.vmlinux ?? join(directory, ARTEFACT.vmlinux),
    bzImage: folder.bzImage ?? (await at(ARTEFACT.bzImage)),
    config: folder.config ?? (await at(ARTEFACT.config)),
    trigger: await at(ARTEFACT.trigger),
    tdxHost: await at(ARTEFACT.tdxHost),
    noTrigger:
      reason === undefined ? undefined : await readFile(reason, 'utf8'),
    tdxSources: await at(ARTEFACT.tdxSources),
    coverage: await at(ARTEFACT.coverage),
  }
}

/** Our own sources that are built against a kernel. */
const OWN_SOURCES = ['images/trigger/Kbuild', 'images/trigger/tdxrig_trigger.c']

/** What enters every build: our sources, and the tools. */
const commonParts = async (): Promise<unknown> => ({
  format: FORMAT,
  own: await Promise.all(
    OWN_SOURCES.map(path => readFile(join(projectRoot(), path), 'utf8')),
  ),
  toolchain: await toolchain(),
})

const keyOf = async (parts: object): Promise<string> =>
  createHash('sha256')
    .update(JSON.stringify([parts, await commonParts()]))
    .digest('hex')

/** The hash of everything that enters a build. */
export const kernelKey = async (recipe: SourceRecipe): Promise<string> =>
  keyOf({
    source: await sourceKey(recipe),
    base: recipe.configBase,
    fragments: recipe.fragments.map(({ text }) => text),
    patches: recipe.patches.map(({ content }) =>
      createHash('sha256').update(content).digest('hex'),
    ),
  })

/**
 * The same for a kernel that was built elsewhere: the image, and what a module
 * is built from.
 *
 * @param files those that exist @param facts what else decides what is made
 */
export const builtKey = async (
  files: readonly string[],
  facts: object,
): Promise<string> =>
  keyOf({
    facts,
    files: await Promise.all(
      files.map(async path => [
        basename(path),
        await memoized(path, 'sha256', sha256OfFile),
      ]),
    ),
  })
