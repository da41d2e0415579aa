import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { InfraError } from '../../base/errors.ts'
import { sweep, withLock } from '../../base/lock.ts'
import { ensureFolder, whole } from '../../base/output.ts'
import {
  cacheRoot,
  findProgram,
  isThere,
  projectRoot,
} from '../../base/paths.ts'
import type { PreparedKernel } from '../../run/kernels.ts'

/** The disk from which made hosts boot, and who may enter. */
export interface HostImage {
  /** Raw; nobody writes to it. */
  readonly disk: string
  /** A private key that root and ci accept. */
  readonly key: string
  /** `TYPE KEY`, for a known_hosts. */
  readonly hostKey: string
}

/** What it takes that a rig without made hosts does not need. */
const PROGRAMS = [
  'fakeroot',
  'grub-editenv',
  'grub-mkimage',
  'ipmi_sim',
  'ipmitool',
  'mcopy',
  'mke2fs',
  'mkfs.fat',
  'mmdebstrap',
  'qemu-img',
  'sfdisk',
  'ssh',
  'ssh-keygen',
]

const GRUB_FOR_BIOS = '/usr/lib/grub/i386-pc/boot.img'

/** UEFI for QEMU (EDK II), and the variables it begins with. */
export const UEFI = {
  code: '/usr/share/OVMF/OVMF_CODE_4M.fd',
  variables: '/usr/share/OVMF/OVMF_VARS_4M.fd',
} as const

/** Why no host can be made here; undefined: one can. */
export const whyNoHosts = async (): Promise<string | undefined> => {
  const missing: string[] = []
  for (const program of PROGRAMS)
    if ((await findProgram(program)) === undefined) missing.push(program)
  if (!(await isThere(GRUB_FOR_BIOS))) missing.push('GRUB for BIOS')
  if (!(await isThere(UEFI.code))) missing.push('OVMF')
  if (missing.length > 0)
    return `${missing.join(', ')}: not installed (./scripts/setup hosts)`
  return (await isThere(await userland()))
    ? undefined
    : 'the userland of made hosts is not there (./scripts/setup hosts)'
}

const part = (name: string): string =>
  join(projectRoot(), 'images', 'made-host', name)

const hashOf = async (
  files: readonly string[],
  text: string,
): Promise<string> => {
  const hash = createHash('sha256').update(text)
  for (const file of files) hash.update(await readFile(part(file)))
  return hash.digest('hex').slice(0, 16)
}

const root = (): string => join(cacheRoot(), 'made-hosts')

const userland = async (): Promise<string> =>
  join(root(), `root-${await hashOf(['make-root'], '')}.tar`)

const run = async (script: string, args: readonly string[]): Promise<void> => {
  const { exitCode, all } = await execa(part(script), args, {
    all: true,
    reject: false,
  })
  if (exitCode !== 0)
    throw new InfraError('MADE_HOST', `${script} failed: ${all.slice(-2000)}`)
}

/** Fetches Debian packages, where the userland is not there yet. */
export const makeUserland = async (): Promise<void> => {
  const path = await userland()
  await withLock(
    `${path}.lock`,
    async () => {
      if (await isThere(path)) return
      await whole(path, temporary => run('make-root', [temporary]))
    },
    { onWait: () => undefined },
  )
}

/** @throws InfraError when it cannot be made (`MADE_HOST`) */
export const hostImage = async (kernel: PreparedKernel): Promise<HostImage> => {
  const { bzImage } = kernel
  if (bzImage === undefined)
    throw new TypeError(`${kernel.name} has no bzImage`)
  await ensureFolder(root())
  const key = await hashOf(['make-root', 'make-disk', 'grub.cfg'], kernel.key)
  const folder = join(root(), `disk-${key}`)
  await withLock(
    `${folder}.lock`,
    async () => {
      if (await isThere(folder)) return
      await sweep(root())
      const partial = `${folder}.partial`
      await mkdir(partial)
      try {
        await run('make-disk', [await userland(), bzImage, partial])
        await rename(partial, folder)
      } catch (error) {
        await rm(partial, { recursive: true, force: true })
        throw error
      }
    },
    { onWait: () => undefined },
  )
  const hostKey = await readFile(join(folder, 'host-key.pub'), 'utf8')
  return {
    disk: join(folder, 'disk.img'),
    key: join(folder, 'id'),
    hostKey: hostKey.split(' ', 2).join(' '),
  }
}
