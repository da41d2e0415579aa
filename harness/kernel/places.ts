import type { Dirent } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { execa } from 'execa'
import { InfraError, UsageError } from '../base/errors.ts'
import { findProgram, isRegularFile, isThere } from '../base/paths.ts'

/** Where the parts of a kernel are that somebody else has built. */
export interface KernelPlaces {
  /** ELF image, with or without symbols. */
  readonly vmlinux?: string
  readonly bzImage?: string
  readonly config?: string
  /** The kernel's own update device; compressed where its name says so. */
  readonly tdxHost?: string
  /** Where modules can be built for it. */
  readonly objects?: string
}

/** A kernel as it was given: its parts, or a package they must be taken from. */
export type GivenKernel =
  { readonly kind: 'places'; readonly places: KernelPlaces } | GivenPackage

/** A package of a distribution. */
export interface GivenPackage {
  readonly kind: 'package'
  readonly path: string
  readonly format: 'deb' | 'rpm'
}

type Part = Exclude<keyof KernelPlaces, 'objects'>

/** Where a folder has the parts: of a build, of /lib/modules, or anyone's. */
const PATHS: Readonly<Record<Part, readonly string[]>> = {
  vmlinux: ['vmlinux'],
  bzImage: ['arch/x86/boot/bzImage', 'bzImage', 'vmlinuz'],
  config: ['.config', 'config'],
  tdxHost: ['', 'kernel/'].flatMap(root =>
    ['.ko', '.ko.xz', '.ko.zst', '.ko.gz'].map(
      end => `${root}drivers/virt/coco/tdx-host/tdx-host${end}`,
    ),
  ),
}

/** Names of the parts in packages and in /boot. */
const NAMES: Readonly<Record<Part, RegExp>> = {
  vmlinux: /^vmlinux(?:-.+)?$/,
  bzImage: /^(?:vmlinuz(?:-.+)?|bzImage)$/,
  config: /^\.?config(?:-.+)?$/,
  tdxHost: /^tdx-host\.ko(?:\.(?:xz|zst|gz))?$/,
}

const PARTS = Object.keys(PATHS) as Part[]

const ACCEPTED =
  'a folder in which a kernel was built, /lib/modules/VERSION, a vmlinux, a vmlinuz (bzImage), or a .deb or .rpm of a kernel'

/** @throws UsageError when there is no kernel */
export const findKernelAt = async (path: string): Promise<GivenKernel> => {
  const info = await stat(path).catch(() => undefined)
  if (info?.isDirectory())
    return { kind: 'places', places: await placesIn(path) }
  if (!info?.isFile())
    throw new UsageError(
      'KERNEL_BUILD',
      `expected a kernel at ${path}, found ${info ? 'neither file nor folder' : 'nothing'}: give ${ACCEPTED}`,
    )
  return ofFile(path)
}

const HEAD = 0x206

const ofFile = async (path: string): Promise<GivenKernel> => {
  const file = await open(path)
  const { buffer } = await file
    .read(Buffer.alloc(HEAD), 0, HEAD, 0)
    .finally(() => file.close())
  const head = buffer.toString('latin1')
  if (head.startsWith('\x7fELF'))
    return { kind: 'places', places: { vmlinux: path } }
  if (head.endsWith('HdrS'))
    return { kind: 'places', places: { bzImage: path } }
  if (head.startsWith('!<arch>\n'))
    return { kind: 'package', path, format: 'deb' }
  if (head.startsWith('\xed\xab\xee\xdb'))
    return { kind: 'package', path, format: 'rpm' }
  throw new UsageError(
    'KERNEL_BUILD',
    `expected a kernel at ${path}, found another kind of file: give ${ACCEPTED}`,
  )
}

const placesIn = async (folder: string): Promise<KernelPlaces> => {
  const entries = await readdir(folder, { withFileTypes: true })
  const places: Partial<Record<Part, string>> = {}
  for (const part of PARTS) {
    const found =
      (await firstOf(folder, PATHS[part])) ??
      only(part, filesNamed(entries, NAMES[part]))
    if (found !== undefined) places[part] = found
  }
  const beside =
    (places.vmlinux ?? places.bzImage) ? places : await inBoot(folder, places)
  if ((beside.vmlinux ?? beside.bzImage) === undefined)
    throw new UsageError(
      'KERNEL_BUILD',
      `expected a kernel in ${folder}, found no vmlinux and no vmlinuz there: give ${ACCEPTED}`,
    )
  const modules = join(folder, 'build')
  const objects = (await isThere(join(modules, 'Makefile'))) ? modules : folder
  return { ...beside, objects }
}

/** Debian has the kernel of /lib/modules/VERSION in /boot. */
const inBoot = async (
  folder: string,
  places: KernelPlaces,
): Promise<KernelPlaces> => {
  const release = basename(folder)
  for (const root of ['../../..', '../../../..'].map(up => join(folder, up))) {
    const bzImage = join(root, 'boot', `vmlinuz-${release}`)
    const config = join(root, 'boot', `config-${release}`)
    if (!(await isRegularFile(bzImage))) continue
    const hasConfig = places.config === undefined && (await isThere(config))
    return { ...places, bzImage, ...(hasConfig && { config }) }
  }
  return places
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

/** Real files: what a package links to is not looked at. */
const filesNamed = (entries: readonly Dirent[], name: RegExp): string[] =>
  entries
    .filter(entry => entry.isFile() && name.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .sort()

const only = (part: Part, paths: readonly string[]): string | undefined => {
  if (paths.length > 1)
    throw new UsageError(
      'KERNEL_BUILD',
      `expected one kernel, found ${paths.length} files that may be its ${part}: ${paths.join(', ')}; name the vmlinuz that is meant`,
    )
  return paths[0]
}

/** It reads both kinds of packages, and writes nothing outside of a folder. */
const UNPACKER = 'bsdtar'

/** What is taken out of a package; a kernel's modules are a gigabyte. */
const INCLUDED = [
  '*boot/vmlinu[xz]-*',
  '*boot/config-*',
  '*lib/modules/*/vmlinu[xz]',
  '*lib/modules/*/config',
  '*/tdx-host.ko*',
].flatMap(pattern => ['--include', pattern])

/** What it says, and fails, when a package has not all of them. */
const HARMLESS = /: Not found in archive$|^bsdtar: Error exit delayed/

/**
 * Takes the parts of a kernel out of a package of a distribution.
 *
 * @param work an empty folder to unpack in
 * @throws UsageError when there is no kernel in it, or it is damaged
 */
export const unpackPackage = async (
  { path, format }: GivenPackage,
  work: string,
  signal?: AbortSignal,
): Promise<KernelPlaces> => {
  if ((await findProgram(UNPACKER)) === undefined)
    throw new InfraError(
      'NO_PROGRAM',
      `${UNPACKER} is not in PATH, and ${path} must be unpacked: install it (on Debian: apt install libarchive-tools)`,
    )
  const unpack = ['-x', '-C', work, ...INCLUDED]
  const quiet = { reject: false, ...(signal && { cancelSignal: signal }) }
  const said =
    format === 'rpm'
      ? complaintsOf([await execa(UNPACKER, [...unpack, '-f', path], quiet)])
      : await execa(UNPACKER, ['-xOf', path, 'data.tar*'], {
          ...quiet,
          buffer: { stdout: false },
        })
          .pipe(UNPACKER, [...unpack, '-f', '-'], quiet)
          .then(result => complaintsOf([...result.pipedFrom, result]))
  signal?.throwIfAborted()
  if (said.length > 0)
    throw new UsageError(
      'KERNEL_PACKAGE',
      `expected a whole ${format === 'deb' ? '.deb' : '.rpm'} at ${path}, and it cannot be unpacked: ${said.join('; ')}`,
    )
  const entries = await readdir(work, { recursive: true, withFileTypes: true })
  const places: Partial<Record<Part, string>> = {}
  for (const part of PARTS) {
    const found = only(part, filesNamed(entries, NAMES[part]))
    if (found !== undefined) places[part] = found
  }
  if ((places.vmlinux ?? places.bzImage) === undefined)
    throw new UsageError(
      'KERNEL_PACKAGE',
      `expected a kernel in ${path}, found neither boot/vmlinuz-VERSION nor lib/modules/VERSION/vmlinuz: on Debian and Ubuntu it is in linux-image-VERSION, on Fedora in kernel-core`,
    )
  return places
}

/** What the unpackers say that matters. */
const complaintsOf = (
  results: readonly { readonly stderr?: unknown }[],
): string[] =>
  results
    .flatMap(({ stderr }) =>
      typeof stderr === 'string' ? stderr.split('\n') : [],
    )
    .filter(line => line !== '' && !HARMLESS.test(line))
