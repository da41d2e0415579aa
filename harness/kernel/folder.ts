import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RigError, UsageError, messageOf } from '../base/errors.ts'
import { isRegularFile, isThere } from '../base/paths.ts'
import { buildTrigger } from './trigger-module.ts'
import { ARTEFACT, type CacheEntry, cachedKernel, folderKey } from './cache.ts'
import { parseOptions } from './config.ts'
import type { BuildLog } from './make.ts'
import type { FolderRecipe } from './recipe.ts'

/** Where a build folder, or one that was put together by hand, has things. */
const PLACES = {
  vmlinux: ['vmlinux'],
  bzImage: ['arch/x86/boot/bzImage', 'bzImage'],
  config: ['.config', 'config'],
} as const

/** What a kernel exports to modules. */
const SYMVERS = ['Module.symvers', 'vmlinux.symvers']

/** A kernel in somebody's build folder: nothing is written there. */
export const folderEntry = async ({
  name,
  folder,
}: FolderRecipe): Promise<CacheEntry> => {
  const vmlinux = await firstOf(folder, PLACES.vmlinux)
  if (vmlinux === undefined)
    throw new UsageError(
      'KERNEL_BUILD',
      `expected a kernel build in ${folder}, found no vmlinux there: give the folder make ran in (O=), or one with vmlinux, bzImage and config`,
    )
  const bzImage = await firstOf(folder, PLACES.bzImage)
  const config = await firstOf(folder, PLACES.config)
  const files = {
    vmlinux,
    ...(bzImage !== undefined && { bzImage }),
    ...(config !== undefined && { config }),
  }
  const enters = [vmlinux, config, ...SYMVERS.map(name => join(folder, name))]
  const present = await Promise.all(
    enters.map(async path =>
      path !== undefined && (await isThere(path)) ? [path] : [],
    ),
  )
  const key = await folderKey(present.flat())
  return {
    name,
    key,
    load: () => cachedKernel(name, key, files),
    // Why there is no trigger may have gone away: it is tried again.
    find: async () => {
      const kernel = await cachedKernel(name, key, files)
      return kernel?.noTrigger === undefined ? kernel : undefined
    },
    fill: async (result, work, log) => {
      const reason = await tryTrigger({ folder, config, result, work }, log)
      if (reason !== undefined)
        await writeFile(join(result, ARTEFACT.noTrigger), reason)
    },
  }
}

const firstOf = async (
  folder: string,
  names: readonly string[],
): Promise<string | undefined> => {
  for (const name of names) {
    const path = join(folder, name)
    if (await isRegularFile(path)) return path
  }
  return undefined
}

interface TriggerPlaces {
  /** Of the kernel that was built. */
  readonly folder: string
  readonly config: string | undefined
  readonly result: string
  readonly work: string
}

/** @returns why there is no trigger module, or undefined when there is one */
const tryTrigger = async (
  { folder, config, result, work }: TriggerPlaces,
  log: BuildLog,
): Promise<string | undefined> => {
  if (config === undefined)
    return 'there is no .config: it is not known whether the kernel loads modules'
  const options = parseOptions(await readFile(config, 'utf8'))
  if (options.get('MODULES') !== 'y')
    return 'the kernel was built without CONFIG_MODULES'
  if (options.get('MODULE_SIG_FORCE') === 'y')
    return 'CONFIG_MODULE_SIG_FORCE: the kernel loads signed modules only'
  if (!(await isThere(join(folder, 'Makefile'))))
    return 'the folder has no Makefile: only where the kernel was built a module can be built for it'
  try {
    await buildTrigger(
      {
        objects: folder,
        work: join(work, 'trigger'),
        result: join(result, ARTEFACT.trigger),
        options: options.get('CC_IS_CLANG') === 'y' ? ['LLVM=1'] : [],
      },
      log,
    )
    return undefined
  } catch (error) {
    if (log.signal?.aborted || !(error instanceof RigError)) throw error
    return messageOf(error)
  }
}
