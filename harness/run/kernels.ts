import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { locate } from '../emulate/emulation.ts'
import { buildInitramfs } from '../image/initramfs.ts'
import { buildKernel } from '../kernel/build.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { KernelImage } from '../kernel/elf.ts'
import type { BuildProgress } from '../kernel/make.ts'
import { loadRecipe } from '../kernel/recipe.ts'
import type { Range } from '../memory/range.ts'
import type { BootableKernel } from '../machine/machine.ts'
import type { Workspace } from './workspace.ts'

export type OnBuild = (kernel: string, progress: BuildProgress) => void

/** A kernel ready to boot, with where it comes from. */
export interface PreparedKernel extends BootableKernel {
  readonly built: BuiltKernel
  /** Physical memory the image occupies. */
  readonly kernelRange: Range | undefined
}

/** Builds what is not in the cache and looks up what the emulation needs. */
export const prepareKernels = async (
  names: readonly string[],
  workspace: Workspace,
  onBuild: OnBuild,
  signal: AbortSignal,
): Promise<Map<string, PreparedKernel>> => {
  const kernels = new Map<string, PreparedKernel>()
  // One after the other: each build uses all CPUs.
  for (const name of new Set(names)) {
    const built = await buildKernel(await loadRecipe(name), {
      signal,
      onProgress: progress => {
        onBuild(name, progress)
      },
    })
    const image = await KernelImage.open(built.vmlinux)
    const initramfs = join(workspace.path, `${name}.initramfs`)
    await writeFile(initramfs, await buildInitramfs(built))
    kernels.set(name, {
      name,
      image,
      sites: await locate(image),
      initramfs,
      built,
      kernelRange: image.physicalRange,
    })
  }
  return kernels
}
