import {
  copyFile,
  cp,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { InfraError, UsageError } from '../base/errors.ts'
import { sweep, withLock } from '../base/lock.ts'
import { isThere } from '../base/paths.ts'
import { buildTrigger, whyNoTrigger } from './trigger-module.ts'
import {
  ARTEFACT,
  type BuiltKernel,
  type CacheEntry,
  TDX_SOURCES,
  cachedKernel,
  kernelDirectory,
  kernelKey,
  logsRoot,
  writeManifest,
} from './cache.ts'
import { verifyConfig } from './config.ts'
import { builtEntry } from './built.ts'
import { KernelImage } from './elf.ts'
import { kernelTraits } from './kernel-traits.ts'
import { BuildLog, type OnProgress } from './make.ts'
import { type Recipe, type SourceRecipe, isCompiledAgain } from './recipe.ts'
import { linkTree, provideSource, unpackSource } from './source.ts'

export interface BuildOptions {
  readonly onProgress: OnProgress
  readonly signal?: AbortSignal
}

/**
 * The kernel of a recipe: from the cache, or built now. Safe to call from
 * several processes at once: one builds, the others wait and take its result.
 *
 * @throws UsageError when a patch does not apply, or Kconfig drops an option
 * @throws InfraError when a step of the build fails
 */
export const buildKernel = async (
  recipe: Recipe,
  { onProgress, signal }: BuildOptions,
): Promise<BuiltKernel> => {
  if (recipe.kind === 'source')
    await provideSource(recipe.source, { onProgress, signal })
  const { name, key, find, load, fill } = await entryOf(recipe)
  const directory = kernelDirectory(name, key)
  const build = async (): Promise<BuiltKernel> => {
    const cached = await find()
    if (cached) return cached
    await mkdir(logsRoot(), { recursive: true })
    const logPath = join(logsRoot(), `${name}-${key.slice(0, 16)}.log`)
    await writeFile(logPath, '')
    const usesCcache = isCompiledAgain(recipe)
    const log = new BuildLog(logPath, onProgress, { signal, usesCcache })
    await fillEntry(directory, log, fill)
    const built = await load()
    if (!built) throw new TypeError(`${directory} is not what was built`)
    return built
  }
  const cached = await find()
  return (
    cached ??
    withLock(`${directory}.lock`, build, {
      signal,
      onWait: () => {
        onProgress({ phase: 'wait for another build of this kernel', files: 0 })
      },
    })
  )
}

/**
 * Puts a kernel into the cache that was built elsewhere, unless it is there.
 *
 * @param fill puts what the entry holds into a folder
 * @throws InfraError when it is not what an entry holds
 */
export const receiveKernel = async (
  name: string,
  key: string,
  fill: (folder: string) => Promise<void>,
): Promise<BuiltKernel> => {
  const directory = kernelDirectory(name, key)
  const take = async (): Promise<BuiltKernel> => {
    const cached = await cachedKernel(name, key)
    if (cached) return cached
    const partial = `${directory}.partial`
    await sweep(dirname(directory))
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { recursive: true })
    try {
      await fill(partial)
      await rm(directory, { recursive: true, force: true })
      await rename(partial, directory)
    } finally {
      await rm(partial, { recursive: true, force: true })
    }
    const received = await cachedKernel(name, key)
    if (received) return received
    throw new InfraError(
      'KERNEL_COPY',
      `expected a whole kernel '${name}' with the key ${key.slice(0, 16)}, found one with files missing: build it again`,
    )
  }
  const cached = await cachedKernel(name, key)
  return (
    cached ?? withLock(`${directory}.lock`, take, { onWait: () => undefined })
  )
}

/** The kernel of a recipe, if it is in the cache. */
export const findKernel = async (
  recipe: Recipe,
): Promise<BuiltKernel | undefined> => (await entryOf(recipe)).load()

const entryOf = async (recipe: Recipe): Promise<CacheEntry> => {
  if (recipe.kind === 'built') return builtEntry(recipe)
  const { name } = recipe
  const key = await kernelKey(recipe)
  return {
    name,
    key,
    find: () => cachedKernel(name, key),
    load: () => cachedKernel(name, key),
    fill: (result, work, log) => buildFromSource(recipe, result, work, log),
  }
}

/** The entry appears as a whole. */
const fillEntry = async (
  directory: string,
  log: BuildLog,
  fill: CacheEntry['fill'],
): Promise<void> => {
  // We hold the lock: whatever lies here was left by a killed build.
  await sweep(dirname(directory))
  const work = `${directory}.partial`
  await rm(work, { recursive: true, force: true })
  try {
    const result = join(work, 'result')
    await mkdir(result, { recursive: true })
    await fill(result, work, log)
    await copyFile(log.path, join(result, 'build.log'))
    await writeManifest(result)
    await rm(directory, { recursive: true, force: true })
    await rename(result, directory)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Since 7.2; a module by itself, CONFIG_TDX_HOST_SERVICES. */
const TDX_HOST = 'drivers/virt/coco/tdx-host'

const buildFromSource = async (
  recipe: SourceRecipe,
  result: string,
  work: string,
  log: BuildLog,
): Promise<void> => {
  // The build sees the same relative paths, whatever this entry is called.
  const source = join(work, 'source')
  const objects = join(source, 'objects')
  await linkTree(await unpackSource(recipe, log), source, log)
  const at = (file: string): string => join(result, file)
  await mkdir(objects)
  await checkTree(recipe, source)
  await configure(recipe, source, objects, log)
  await log.make('compile the kernel', objects, ['bzImage', 'modules_prepare'])
  const image = await KernelImage.open(join(objects, 'vmlinux'))
  const { trigger } = await kernelTraits(image)
  const reason = whyNoTrigger(trigger)
  if (reason !== undefined) await writeFile(at(ARTEFACT.noTrigger), reason)
  else
    await buildTrigger(
      { objects, work: join(work, 'trigger'), result: at(ARTEFACT.trigger) },
      log,
    )
  if (await isThere(join(source, TDX_HOST, 'tdx-host.c'))) {
    const module = join(TDX_HOST, 'tdx-host.ko')
    await log.make('compile the update device', objects, [module])
    await copyFile(join(objects, module), at(ARTEFACT.tdxHost))
  }
  await copyFile(join(objects, 'vmlinux'), at(ARTEFACT.vmlinux))
  await copyFile(join(objects, 'arch/x86/boot/bzImage'), at(ARTEFACT.bzImage))
  await copyFile(join(objects, '.config'), at(ARTEFACT.config))
  const tdx = join(source, TDX_SOURCES)
  if (await isThere(tdx))
    await cp(tdx, at(ARTEFACT.tdxSources), { recursive: true })
  await keepNotes(source, objects, at(ARTEFACT.coverage))
}

/** Files that count their lines are not in other folders. */
const COUNTED = 'arch/x86/virt'

/**
 * What gcov needs to make lines of counters: the compiler's notes, at the
 * paths they had, and the sources beside them.
 */
const keepNotes = async (
  source: string,
  objects: string,
  result: string,
): Promise<void> => {
  const notes = await filesLike(join(objects, COUNTED), /\.gcno$/)
  if (notes.length === 0) return
  const texts = await filesLike(join(source, COUNTED), /\.[ch]$/)
  const keep = async (root: string, file: string): Promise<void> => {
    const target = join(result, COUNTED, file)
    await mkdir(dirname(target), { recursive: true })
    await copyFile(join(root, COUNTED, file), target)
  }
  for (const note of notes) await keep(objects, note)
  for (const text of texts) await keep(source, text)
}

/** Files below a folder whose names match; none where there is no folder. */
const filesLike = async (root: string, name: RegExp): Promise<string[]> => {
  if (!(await isThere(root))) return []
  const files = await readdir(root, { recursive: true })
  return files.filter(file => name.test(file))
}

/** @throws UsageError when the source is something else than a kernel */
const checkTree = async (
  { name }: SourceRecipe,
  source: string,
): Promise<void> => {
  for (const file of ['Makefile', 'Kconfig', 'arch/x86'])
    if (!(await isThere(join(source, file))))
      throw new UsageError(
        'NO_KERNEL_TREE',
        `the source of kernel '${name}' is no kernel: expected ${file} at its top, found none; a tarball must have one folder in it, and git be the top of a repository`,
      )
}

const configure = async (
  recipe: SourceRecipe,
  source: string,
  objects: string,
  log: BuildLog,
): Promise<void> => {
  const fragment = join(objects, 'fragments.config')
  await writeFile(fragment, recipe.fragments.map(({ text }) => text).join('\n'))
  await log.make('configure', source, [
    `O=${objects}`,
    recipe.configBase,
    `KCONFIG_ALLCONFIG=${fragment}`,
  ])
  // defconfig ignores KCONFIG_ALLCONFIG: the last value of an option counts.
  if (recipe.configBase === 'defconfig') {
    const config = join(objects, '.config')
    const base = await readFile(config, 'utf8')
    await writeFile(config, `${base}\n${await readFile(fragment, 'utf8')}`)
  }
  await log.make('configure', objects, ['olddefconfig'])
  await verifyConfig(source, objects, recipe.fragments)
}
