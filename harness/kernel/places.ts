import type { Dirent } from 'node:fs'
import { open, readdir, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { isRegularFile, isThere } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import { MIB } from '../base/units.ts'
import { type UnpackOptions, unpack } from './unpack.ts'

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

/** Names of the parts in /boot. */
const NAMES: Readonly<Record<Part, RegExp>> = {
  vmlinux: /^vmlinux-.+$/,
  bzImage: /^vmlinuz-.+$/,
  config: /^config-.+$/,
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
    const hasConfig =
      places.config === undefined && (await isRegularFile(config))
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

const filesNamed = (entries: readonly Dirent[], name: RegExp): string[] =>
  entries
    .filter(
      entry => entry.isFile() && name.test(entry.name) && !isPacked(entry.name),
    )
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

/** Where packages have the parts; names with odd characters are none. */
const MEMBERS: Readonly<Record<Part, RegExp>> = {
  vmlinux:
    /^[\w.+~/-]*(?:boot\/vmlinux-[\w.+~-]+|lib\/modules\/[\w.+~-]+\/vmlinux)$/,
  bzImage:
    /^[\w.+~/-]*(?:boot\/vmlinuz-[\w.+~-]+|lib\/modules\/[\w.+~-]+\/vmlinuz)$/,
  config:
    /^[\w.+~/-]*(?:boot\/config-[\w.+~-]+|lib\/modules\/[\w.+~-]+\/config)$/,
  tdxHost: /^[\w.+~/-]*\/tdx-host\.ko(?:\.(?:xz|zst|gz))?$/,
}

/**
 * Takes the parts of a kernel out of a package of a distribution: it is listed,
 * and one file of each part is unpacked.
 *
 * @param work an empty folder to unpack in
 * @throws UsageError when there is no kernel in it, or it is damaged
 */
export const unpackPackage = async (
  given: GivenPackage,
  work: string,
  signal?: AbortSignal,
): Promise<KernelPlaces> => {
  const archive =
    given.format === 'deb' ? await dataOfDeb(given, work, signal) : given.path
  const list = await listOf(given, archive, signal)
  const names = list.split('\n').filter(name => name.length <= MAX_NAME)
  const members: Partial<Record<Part, string>> = {}
  for (const part of PARTS) {
    const found = names.filter(
      name => MEMBERS[part].test(name) && !isPacked(name),
    )
    // A kernel and its links; a module has a name of its own.
    const [first, ...more] = part === 'tdxHost' ? found.slice(0, 1) : found
    if (more.length > 0)
      throw new UsageError(
        'KERNEL_PACKAGE',
        `expected one kernel in ${given.path}, found ${found.length} files that may be its ${part}: ${visible(found.slice(0, 4).join(', '))}; unpack it, and give the vmlinuz that is meant`,
      )
    if (first !== undefined) members[part] = first
  }
  if ((members.vmlinux ?? members.bzImage) === undefined)
    throw new UsageError(
      'KERNEL_PACKAGE',
      `expected a kernel in ${given.path}, found neither boot/vmlinuz-VERSION nor lib/modules/VERSION/vmlinuz: on Debian and Ubuntu it is in linux-image-VERSION, on Fedora in kernel-core`,
    )
  const places: Partial<Record<Part, string>> = {}
  for (const part of PARTS) {
    const member = members[part]
    if (member === undefined) continue
    const bytes = await memberOf(given, { archive, member, signal })
    const path = join(work, basename(member))
    await writeFile(path, bytes)
    places[part] = path
  }
  return places
}

/** PATH_MAX (include/uapi/linux/limits.h): no kernel has a longer name. */
const MAX_NAME = 4096

/** Not what their names begin with: debuggers' and compressed images. */
const PACKED = /\.(?:gz|xz|zst|bz2|py|debug)$/
const isPacked = (name: string): boolean =>
  name.includes('vmlinu') && PACKED.test(name)

/** A .deb is an ar archive; the package is a member of it. @returns its path */
export const dataOfDeb = async (
  given: GivenPackage,
  work: string,
  signal: AbortSignal | undefined,
): Promise<string> => {
  const list = await listOf(given, given.path, signal)
  const [member] = /^data\.tar(?:\.\w+)?$/m.exec(list) ?? []
  if (member === undefined)
    throw new UsageError(
      'KERNEL_PACKAGE',
      `expected a .deb at ${given.path}, found no data.tar in it`,
    )
  const path = join(work, member)
  await writeFile(
    path,
    await memberOf(given, { archive: given.path, member, signal }),
  )
  return path
}

/** A package of a kernel with all its modules lists some hundred KB. */
const MAX_LIST = 16 * MIB

const listOf = async (
  given: GivenPackage,
  archive: string,
  signal: AbortSignal | undefined,
): Promise<string> => {
  const list = await takeFrom(given, ['-tf', archive], {
    most: MAX_LIST,
    signal,
  })
  return list.toString('utf8')
}

interface Member {
  readonly archive: string
  /** A name that the archive gives: it may look like an option. */
  readonly member: string
  readonly signal: AbortSignal | undefined
}

const memberOf = (
  given: GivenPackage,
  { archive, member, signal }: Member,
): Promise<Buffer> =>
  takeFrom(given, ['-xOf', archive, '--', member], { signal })

const takeFrom = async (
  { path, format }: GivenPackage,
  args: readonly string[],
  options: Pick<UnpackOptions, 'most' | 'signal'>,
): Promise<Buffer> => {
  const { stdout, complaint } = await unpack('bsdtar', args, {
    what: path,
    ...options,
  })
  if (complaint === '') return stdout
  throw new UsageError(
    'KERNEL_PACKAGE',
    `expected a whole .${format} of a kernel at ${path}, and it cannot be unpacked: ${complaint}`,
  )
}
