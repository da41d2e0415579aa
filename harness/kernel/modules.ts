import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { execa } from 'execa'
import { endsWithUs } from '../base/ends-with-us.ts'
import { UsageError } from '../base/errors.ts'
import { isRegularFile } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import { type GivenPackage, dataOfDeb, findKernelAt } from './places.ts'
import type { Recipe } from './recipe.ts'
import { unpack } from './unpack.ts'

/** Where the modules of a kernel are that somebody else has built. */
export type ModuleSource =
  /** A tree in which it was built. */
  | { readonly kind: 'build'; readonly folder: string }
  /** /lib/modules/VERSION. */
  | { readonly kind: 'folder'; readonly folder: string }
  | GivenPackage
  /** The host itself has them, and a kernel and an initrd with them. */
  | { readonly kind: 'installed'; readonly release: string }

/** Undefined: there are none, and the kernel needs no initrd. */
export const moduleSource = async (
  recipe: Recipe,
): Promise<ModuleSource | undefined> => {
  if (recipe.kind === 'source') return undefined
  const { path, installed } = recipe
  if (installed !== undefined) return { kind: 'installed', release: installed }
  const given = await findKernelAt(path)
  if (given.kind === 'package') return given
  if (await isRegularFile(join(path, 'modules.dep')))
    return { kind: 'folder', folder: path }
  const order = await stat(join(path, 'modules.order')).catch(() => undefined)
  return order !== undefined && order.size > 0
    ? { kind: 'build', folder: path }
    : undefined
}

export interface PackOptions {
  readonly release: string
  /** An empty folder. */
  readonly work: string
  readonly signal: AbortSignal
}

/**
 * Packs lib/modules/RELEASE as a tar archive, as the system that has them may
 * unpack it in its root.
 *
 * @returns the archive
 * @throws UsageError when there are none of that release
 */
export const packModules = async (
  source: Exclude<ModuleSource, { readonly kind: 'installed' }>,
  { release, work, signal }: PackOptions,
): Promise<string> => {
  const archive = join(work, 'modules.tar')
  const pack = (args: readonly string[], what: string): Promise<void> =>
    packed(['-cf', archive, ...args], { what, release, signal })
  switch (source.kind) {
    case 'build': {
      await installModules(source.folder, work, signal)
      await pack(['-C', work, `lib/modules/${release}`], source.folder)
      break
    }
    case 'folder':
      // Its links lead to where the kernel was built.
      await pack(
        [
          '--exclude',
          './build',
          '--exclude',
          './source',
          '-s',
          `,^\\.,lib/modules/${release},`,
          '-C',
          source.folder,
          '.',
        ],
        source.folder,
      )
      break
    case 'package': {
      const data =
        source.format === 'deb'
          ? await dataOfDeb(source, work, signal)
          : source.path
      await pack(
        [
          '--include',
          `*lib/modules/${release}/*`,
          '--exclude',
          '*/build',
          `@${data}`,
        ],
        source.path,
      )
      break
    }
  }
  return archive
}

interface Packed {
  readonly what: string
  readonly release: string
  readonly signal: AbortSignal
}

const packed = async (
  args: readonly string[],
  { what, release, signal }: Packed,
): Promise<void> => {
  const { complaint } = await unpack('bsdtar', args, { what, signal })
  if (complaint === '') return
  throw new UsageError(
    'KERNEL_MODULES',
    `expected the modules of ${release} in ${what}, and they cannot be packed: ${complaint}`,
  )
}

/** `make modules_install`, which only the tree itself can do. */
const installModules = async (
  folder: string,
  work: string,
  signal: AbortSignal,
): Promise<void> => {
  await mkdir(join(work, 'lib'), { recursive: true })
  const { exitCode, all } = await execa(
    'setpriv',
    endsWithUs([
      'make',
      '-s',
      '-C',
      folder,
      'modules_install',
      `INSTALL_MOD_PATH=${work}`,
      'INSTALL_MOD_STRIP=1',
      'DEPMOD=true',
    ]),
    { all: true, reject: false, stdin: 'ignore', cancelSignal: signal },
  )
  signal.throwIfAborted()
  if (exitCode !== 0)
    throw new UsageError(
      'KERNEL_MODULES',
      `expected 'make modules_install' to install the modules of ${folder}, it says: ${visible(all.slice(-500).trim())}`,
    )
}
