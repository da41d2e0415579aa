import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { RigError, messageOf } from '../base/errors.ts'
import { isRegularFile, isThere } from '../base/paths.ts'
import { unpackBzImage } from './bzimage.ts'
import {
  ARTEFACT,
  type BuiltKernel,
  type CacheEntry,
  builtKey,
  cachedKernel,
} from './cache.ts'
import { kernelTraits } from './kernel-traits.ts'
import { TRIGGER_PHASE, buildTrigger, whyNoTrigger } from './trigger-module.ts'
import { KernelImage } from './elf.ts'
import {
  type GivenPackage,
  type KernelPlaces,
  findKernelAt,
  unpackPackage,
} from './places.ts'
import { MAX_BYTES, decompress, readImage, verifySize } from './unpack.ts'
import { withSymbols } from './with-symbols.ts'
import { parseOptions } from './config.ts'
import type { BuildLog } from './make.ts'
import type { BuiltRecipe } from './recipe.ts'

/** What a kernel exports to modules. */
const SYMVERS = ['Module.symvers', 'vmlinux.symvers']

/** A kernel that somebody else has built: nothing is written where it is. */
export const builtEntry = async ({
  name,
  path,
}: BuiltRecipe): Promise<CacheEntry> => {
  const given = await findKernelAt(path)
  return given.kind === 'package'
    ? packageEntry(name, given)
    : placesEntry(name, given.places)
}

const packageEntry = async (
  name: string,
  given: GivenPackage,
): Promise<CacheEntry> => {
  const key = await builtKey([given.path], {})
  const cached = (): Promise<BuiltKernel | undefined> => cachedKernel(name, key)
  return {
    name,
    key,
    load: cached,
    find: cached,
    fill: async (result, work, log) => {
      log.announce('unpack the package')
      const unpacked = join(work, 'package')
      await mkdir(unpacked)
      const places = await unpackPackage(given, unpacked, log.signal)
      const { vmlinux, bzImage, config, tdxHost } = places
      if (vmlinux !== undefined && (await KernelImage.hasSymbols(vmlinux)))
        await copyFile(vmlinux, join(result, ARTEFACT.vmlinux))
      else await writeImage({ vmlinux, bzImage }, result, log)
      if (bzImage !== undefined)
        await copyFile(bzImage, join(result, ARTEFACT.bzImage))
      if (config !== undefined)
        await copyFile(config, join(result, ARTEFACT.config))
      if (tdxHost !== undefined) await takeModule(tdxHost, result, log.signal)
      await writeFile(
        join(result, ARTEFACT.noTrigger),
        'a package has nothing that a module can be built with: give the folder /lib/modules/VERSION where its headers are installed as well',
      )
    },
  }
}

const placesEntry = async (
  name: string,
  { vmlinux, bzImage, config, tdxHost, objects }: KernelPlaces,
): Promise<CacheEntry> => {
  const symvers =
    objects === undefined ? [] : SYMVERS.map(file => join(objects, file))
  await verifyParts({ vmlinux, bzImage, tdxHost }, [config, ...symvers])
  const hasSymbols =
    vmlinux !== undefined && (await KernelImage.hasSymbols(vmlinux))
  const files = {
    ...(hasSymbols && { vmlinux }),
    ...(bzImage !== undefined && { bzImage }),
    ...(config !== undefined && { config }),
  }
  const enters = [
    vmlinux,
    hasSymbols ? undefined : bzImage,
    config,
    tdxHost,
    ...symvers,
  ]
  const present = await Promise.all(
    enters.map(async path =>
      path !== undefined && (await isRegularFile(path)) ? [path] : [],
    ),
  )
  const canBuild =
    objects !== undefined && (await isThere(join(objects, 'Makefile')))
  // The folder of a kernel that we have built has one already.
  const made = join(dirname(vmlinux ?? bzImage ?? name), ARTEFACT.trigger)
  const hasTrigger = await isRegularFile(made)
  const key = await builtKey(
    [...present.flat(), ...(hasTrigger ? [made] : [])],
    { canBuild },
  )
  return {
    name,
    key,
    load: () => cachedKernel(name, key, files),
    // A build that failed is tried again; all else enters the key.
    find: async () => {
      const kernel = await cachedKernel(name, key, files)
      return kernel?.noTrigger?.startsWith(TRIGGER_PHASE) ? undefined : kernel
    },
    fill: async (result, work, log) => {
      if (!hasSymbols) await writeImage({ vmlinux, bzImage }, result, log)
      if (tdxHost !== undefined) await takeModule(tdxHost, result, log.signal)
      const image = await KernelImage.open(
        files.vmlinux ?? join(result, ARTEFACT.vmlinux),
      )
      const { trigger } = await kernelTraits(image)
      if (hasTrigger) {
        await copyFile(made, join(result, ARTEFACT.trigger))
        return
      }
      const reason =
        whyNoTrigger(trigger) ??
        (objects === undefined
          ? 'an image alone has nothing that a module can be built with: give the folder the kernel was built in'
          : await tryTrigger({ folder: objects, config, result, work }, log))
      if (reason !== undefined)
        await writeFile(join(result, ARTEFACT.noTrigger), reason)
    },
  }
}

/** Sizes are looked at before anything is read or hashed. */
const verifyParts = async (
  {
    vmlinux,
    bzImage,
    tdxHost,
  }: Record<'vmlinux' | 'bzImage' | 'tdxHost', string | undefined>,
  texts: readonly (string | undefined)[],
): Promise<void> => {
  const parts: readonly (readonly [string | undefined, number])[] = [
    [vmlinux, MAX_BYTES.vmlinux],
    [bzImage, MAX_BYTES.image],
    [tdxHost, MAX_BYTES.image],
    ...texts.map(path => [path, MAX_BYTES.text] as const),
  ]
  for (const [path, most] of parts)
    if (path !== undefined && (await isRegularFile(path)))
      await verifySize(path, most)
}

/** An image with the symbols it carries for itself. */
const writeImage = async (
  { vmlinux, bzImage }: Record<'vmlinux' | 'bzImage', string | undefined>,
  result: string,
  log: BuildLog,
): Promise<void> => {
  const path = vmlinux ?? bzImage
  if (path === undefined) throw new TypeError('there is no kernel')
  log.announce(`take the kernel and its symbols out of ${basename(path)}`)
  const elf =
    vmlinux === undefined
      ? await unpackBzImage(path, log.signal)
      : await readImage(path)
  await writeFile(join(result, ARTEFACT.vmlinux), withSymbols(elf, path))
}

const takeModule = async (
  path: string,
  result: string,
  signal: AbortSignal | undefined,
): Promise<void> => {
  const target = join(result, ARTEFACT.tdxHost)
  if (path.endsWith('.ko')) await copyFile(path, target)
  else
    await writeFile(
      target,
      await decompress(await readImage(path), path, signal),
    )
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
