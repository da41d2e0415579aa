import {
  copyFile,
  cp,
  mkdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { withLock } from '../base/lock.ts'
import { projectRoot } from '../base/paths.ts'
import {
  type BuiltKernel,
  builtKernel,
  cachedKernel,
  kernelDirectory,
  kernelKey,
  logsRoot,
  writeManifest,
} from './cache.ts'
import { verifyConfig } from './config.ts'
import { BuildLog, type OnProgress } from './make.ts'
import type { Recipe } from './recipe.ts'
import { unpackSource } from './source.ts'

export interface BuildOptions {
  readonly onProgress: OnProgress
  readonly signal?: AbortSignal
}

/**
 * The kernel of a recipe: from the cache, or built now. Safe to call from
 * several processes at once: one builds, the others wait and take its result.
 *
 * @throws UsageError when Kconfig drops a requested option
 * @throws InfraError when a step of the build fails
 */
export const buildKernel = async (
  recipe: Recipe,
  { onProgress, signal }: BuildOptions,
): Promise<BuiltKernel> => {
  const key = await kernelKey(recipe)
  const cached = await cachedKernel(recipe.name, key)
  if (cached) return cached
  const directory = kernelDirectory(recipe.name, key)
  return withLock(
    `${directory}.lock`,
    async () =>
      (await cachedKernel(recipe.name, key)) ??
      buildInto(directory, recipe, key, {
        onProgress,
        ...(signal && { signal }),
      }),
    {
      signal,
      onWait: () => {
        onProgress({ phase: 'wait for another build of this kernel', files: 0 })
      },
    },
  )
}

const buildInto = async (
  directory: string,
  recipe: Recipe,
  key: string,
  { onProgress, signal }: BuildOptions,
): Promise<BuiltKernel> => {
  await mkdir(logsRoot(), { recursive: true })
  const logPath = join(logsRoot(), `${recipe.name}-${key.slice(0, 16)}.log`)
  await writeFile(logPath, '')
  const log = new BuildLog(logPath, onProgress, signal)
  const source = await unpackSource(recipe, log)
  // We hold the lock: whatever lies here was left by a killed build.
  const work = `${directory}.partial`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  try {
    const objects = join(work, 'objects')
    const result = builtKernel(recipe.name, key, join(work, 'result'))
    await mkdir(join(work, 'result'))
    await mkdir(objects)
    await configure(recipe, source, objects, log)
    await log.make('compile the kernel', objects, [
      'bzImage',
      'modules_prepare',
    ])
    await buildTrigger(objects, work, result.trigger, log)
    await buildInit(result.init, work, log)
    await copyFile(join(objects, 'vmlinux'), result.vmlinux)
    await copyFile(join(objects, 'arch/x86/boot/bzImage'), result.bzImage)
    await copyFile(join(objects, '.config'), result.config)
    await copyFile(logPath, join(work, 'result', 'build.log'))
    await writeManifest(result, join(work, 'result'))
    await rm(directory, { recursive: true, force: true })
    await rename(join(work, 'result'), directory)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return builtKernel(recipe.name, key, directory)
}

const configure = async (
  recipe: Recipe,
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

/** An external module: the same source works against any tree. */
const buildTrigger = async (
  objects: string,
  work: string,
  result: string,
  log: BuildLog,
): Promise<void> => {
  const module = join(work, 'trigger')
  await cp(join(projectRoot(), 'images', 'trigger'), module, {
    recursive: true,
  })
  // The in-tree modules are not built, so modpost has made no Module.symvers.
  await copyFile(
    join(objects, 'vmlinux.symvers'),
    join(objects, 'Module.symvers'),
  )
  await log.make('compile the trigger module', objects, [
    `M=${module}`,
    'modules',
  ])
  await copyFile(join(module, 'tdxrig_trigger.ko'), result)
}

const buildInit = async (
  result: string,
  cwd: string,
  log: BuildLog,
): Promise<void> => {
  await log.run({
    phase: 'compile init',
    file: 'gcc',
    args: [
      ...['-Os', '-Wall', '-Wextra', '-Werror', '-static', '-nostdlib'],
      ...['-ffreestanding', '-fno-stack-protector', '-fno-pie', '-no-pie'],
      ...['-fno-asynchronous-unwind-tables', '-Wl,--build-id=none', '-s'],
      ...['-o', result, join(projectRoot(), 'images', 'init', 'init.c')],
    ],
    cwd,
  })
}
