import { createHash } from 'node:crypto'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { InfraError, UsageError } from '../../base/errors.ts'
import { visible } from '../../base/text.ts'
import { type ModuleSource, packModules } from '../../kernel/modules.ts'
import type { BootableKernel } from '../machine.ts'
import type { Entry } from './loader.ts'
import { textOf } from './remote.ts'
import type { HostSession } from './session.ts'

export interface ProvideOptions {
  /** Private folder to pack modules in. */
  readonly directory: string
  readonly signal: AbortSignal
}

/** Milliseconds in which the slowest host has made an initrd. */
const PACKING = 1_800_000

type KernelFiles = Pick<Entry, 'kernel' | 'initrd'>

/**
 * Puts a kernel where the boot loader of a host finds it, with its modules and
 * an initrd made there. One that is installed on the host is copied there.
 */
export const provideKernel = async (
  session: HostSession,
  kernel: BootableKernel,
  options: ProvideOptions,
): Promise<KernelFiles> => {
  const { modules } = kernel
  if (modules?.kind === 'installed')
    return adopt(session, modules.release, options)
  const name = await copyImage(session, bootImage(kernel), options)
  if (!modules) return { kernel: name, initrd: undefined }
  const initrd = name.replace('vmlinuz', 'initrd')
  await provideInitrd(session, { kernel, modules, initrd }, options)
  return { kernel: name, initrd }
}

const adopt = async (
  session: HostSession,
  release: string,
  { signal }: ProvideOptions,
): Promise<KernelFiles> => {
  const { boot, deadline } = session.host
  const kernel = `vmlinuz-${release}`
  const initrd = `initrd-${release}`
  const answer = await session.act(['adopt', boot, release, kernel, initrd], {
    signal,
    timeout: deadline,
  })
  return { kernel, initrd: answer.has('initrd') ? initrd : undefined }
}

/** @returns its name there, which follows from what is in it */
const copyImage = async (
  session: HostSession,
  path: string,
  { signal }: ProvideOptions,
): Promise<string> => {
  const { boot, name: host, deadline } = session.host
  const image = await readFile(path)
  const hash = createHash('sha256').update(image).digest('hex')
  const name = `vmlinuz-${hash.slice(0, 16)}`
  const there = await session.ask(['have', boot, name], { signal })
  if (textOf(there, name) === hash) return name
  const kept = await session.act(['install', boot, name, hash], {
    signal,
    input: image,
    timeout: deadline,
  })
  if (textOf(kept, 'sha256') !== hash)
    throw new InfraError(
      'HOST_COPY',
      `${host}: ${name} arrived changed: expected SHA-256 ${hash}, found '${visible(textOf(kept, 'sha256'))}'`,
    )
  return name
}

interface InitrdPlan {
  readonly kernel: BootableKernel
  readonly modules: Exclude<ModuleSource, { readonly kind: 'installed' }>
  readonly initrd: string
}

const provideInitrd = async (
  session: HostSession,
  { kernel, modules, initrd }: InitrdPlan,
  { directory, signal }: ProvideOptions,
): Promise<void> => {
  const { boot, deadline } = session.host
  const timeout = Math.max(deadline, PACKING)
  const { name, release } = kernel
  if (release === undefined)
    throw new UsageError(
      'HOST_KERNEL',
      `${name} does not say which release it is: its modules cannot be installed`,
    )
  const work = join(directory, 'modules')
  await mkdir(work)
  try {
    session.say(`copying the modules of ${release}`)
    const archive = await packModules(modules, { release, work, signal })
    await session.act(['modules', release], {
      signal,
      timeout,
      input: await readFile(archive),
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  session.say(`making an initrd for ${release}`)
  await session.act(['initrd', boot, release, initrd], {
    signal,
    timeout,
    input: await configOf(kernel),
  })
}

/** Kernels unpack gzip unless somebody has turned that off. */
const configOf = async ({ config }: BootableKernel): Promise<Buffer> =>
  config === undefined ? Buffer.from('CONFIG_RD_GZIP=y\n') : readFile(config)

const bootImage = ({ name, bzImage }: BootableKernel): string => {
  if (bzImage !== undefined) return bzImage
  throw new UsageError(
    'HOST_KERNEL',
    `${name} has no bzImage, and no boot loader starts a vmlinux: give its vmlinuz`,
  )
}
