import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { locate } from '../emulate/kernel-sites.ts'
import {
  type KernelTraits,
  bannerOf,
  kernelTraits,
  verifyAge,
  verifySeries,
} from '../kernel/kernel-traits.ts'
import type { GuestStep } from '../guest/protocol.ts'
import { buildInit } from '../guest/init.ts'
import { type Programs, buildInitramfs } from '../guest/initramfs.ts'
import { buildKernel } from '../kernel/build.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { bzImageVersion, isSameBuild } from '../kernel/bzimage.ts'
import { KernelImage } from '../kernel/elf.ts'
import type { BuildProgress } from '../kernel/make.ts'
import { moduleSource } from '../kernel/modules.ts'
import type { Recipe } from '../kernel/recipe.ts'
import { isMissingSource } from '../kernel/source.ts'
import type { BootableKernel } from '../machine/machine.ts'
import type { Range } from '../memory/range.ts'
import type { Step } from '../scenario/steps.ts'
import { type UpdateImage, encodeImage } from '../tdx/seamldr.ts'
import type { TriggerKind } from '../tdx/series/series.ts'
import type { Workspace } from './workspace.ts'

export type OnBuild = (kernel: string, progress: BuildProgress) => void

/** A kernel ready to boot, with where it comes from. */
export interface PreparedKernel extends BootableKernel {
  readonly built: BuiltKernel
  /** Hash of everything that entered its build. */
  readonly key: string
  readonly programs: Programs
  /** Initramfs of boots whose only step is the trigger. */
  readonly initramfs: string
  /** What `--kernel-build` names; undefined for a recipe. */
  readonly build: string | undefined
  /** Physical memory the image occupies. */
  readonly kernelImage: Range | undefined
  /** Bytes of its real mode code; undefined: the symbols do not tell. */
  readonly realMode: number | undefined
}

/** It initialises TDX: when the trigger module asks it to, or by itself. */
export const initialisesTdx = ({
  programs,
  trigger,
}: Pick<PreparedKernel, 'programs' | 'trigger'>): boolean =>
  programs.trigger !== undefined || trigger === 'at boot'

export interface PrepareOptions {
  readonly workspace: Workspace
  readonly onBuild: OnBuild
  readonly signal: AbortSignal
  /** Told of a recipe whose source is not there; default: it is an error. */
  readonly onMissing?: (recipe: Recipe, message: string) => void
  /** Of these it is an error all the same. */
  readonly needed?: ReadonlySet<string>
}

/**
 * Builds what is not in the cache and looks up what the emulation needs.
 *
 * @returns kernels by name, without those that are missing
 */
export const prepareKernels = async (
  recipes: readonly Recipe[],
  { workspace, onBuild, signal, onMissing, needed }: PrepareOptions,
): Promise<Map<string, PreparedKernel>> => {
  const kernels = new Map<string, PreparedKernel>()
  const init = await buildInit(signal)
  // One after the other: each build uses all CPUs.
  for (const recipe of recipes) {
    const { name } = recipe
    const built = await buildKernel(recipe, {
      signal,
      onProgress: progress => {
        onBuild(name, progress)
      },
    }).catch((error: unknown) => {
      if (!onMissing || needed?.has(name) || !isMissingSource(error))
        throw error
      onMissing(recipe, error.message)
      return undefined
    })
    if (!built) continue
    const initramfs = join(workspace.path, `${name}.initramfs`)
    kernels.set(name, await prepare(recipe, built, { init, initramfs }))
  }
  return kernels
}

/** A kernel that is in the cache, ready to boot. */
export const prepareBuilt = async (
  recipe: Recipe,
  built: BuiltKernel,
  {
    workspace,
    signal,
  }: { readonly workspace: Workspace; readonly signal: AbortSignal },
): Promise<PreparedKernel> =>
  prepare(recipe, built, {
    init: await buildInit(signal),
    initramfs: join(
      workspace.path,
      `${built.name}-${built.key.slice(0, 16)}.initramfs`,
    ),
  })

const prepare = async (
  recipe: Recipe,
  built: BuiltKernel,
  { init, initramfs }: { readonly init: string; readonly initramfs: string },
): Promise<PreparedKernel> => {
  const image = await KernelImage.open(built.vmlinux)
  const traits = await kernelTraits(image)
  verifySeries(recipe, traits)
  verifyAge(traits, built.vmlinux)
  const sites = await locate(image, traits.release)
  // A kernel that initialises TDX as it boots has nobody left to ask it to.
  const trigger = traits.trigger === 'at boot' ? undefined : built.trigger
  const programs = { init, trigger, tdxHost: built.tdxHost }
  // Without a file of steps init has one: the trigger.
  const steps = isAsked(traits.trigger, sites)
    ? undefined
    : [{ kind: 'none' } as const]
  await writeFile(initramfs, await buildInitramfs(programs, { steps }))
  return {
    name: built.name,
    image,
    series: traits.series,
    release: traits.release,
    trigger: traits.trigger,
    hostsTdx: sites.hostsTdx,
    hibernates: traits.hibernates,
    hasMemlist: traits.hasMemlist,
    printsRegions: traits.printsRegions,
    failsRegions: traits.failsRegions,
    programs,
    initramfs,
    built,
    key: built.key,
    build: buildOf(recipe),
    sites,
    bootFile: await bootFile(built, image, traits),
    bzImage: built.bzImage,
    config: built.config,
    modules: await moduleSource(recipe),
    triggerModule: trigger,
    kernelImage: image.physicalRange,
    realMode: image.distance('real_mode_blob', 'real_mode_blob_end'),
  }
}

/** A copy of what a host has installed is named by its release. */
const buildOf = (recipe: Recipe): string | undefined =>
  recipe.kind === 'built' && recipe.installed === undefined
    ? recipe.path
    : undefined

/** What QEMU starts; its symbols are those of the vmlinux. */
const bootFile = async (
  { vmlinux, bzImage }: BuiltKernel,
  image: KernelImage,
  { pvh }: KernelTraits,
): Promise<string> => {
  if (pvh) return vmlinux
  if (bzImage === undefined)
    throw new UsageError(
      'KERNEL_IMAGE',
      `${vmlinux} was built without CONFIG_PVH and there is no bzImage beside it: QEMU cannot start it`,
    )
  const banner = await bannerOf(image)
  const version = await bzImageVersion(bzImage)
  if (banner !== undefined && !isSameBuild(banner, version))
    throw new UsageError(
      'KERNEL_IMAGE',
      `${bzImage} is not made of ${vmlinux}: expected '${banner}', found '${version ?? 'no version'}'; build both`,
    )
  return bzImage
}

/** What is done on a kernel: one without TDX host support is only booted. */
export const stepsOn = (
  { hostsTdx }: Pick<PreparedKernel, 'hostsTdx'>,
  steps: readonly Step[],
): readonly Step[] => (hostsTdx ? steps : [{ kind: 'trigger' }])

/** The initramfs for steps; one of its own where they need one. */
export const initramfsFor = async (
  kernel: PreparedKernel,
  steps: readonly Step[],
  directory: string,
  name = 'initramfs',
): Promise<string> => {
  const { programs, initramfs } = kernel
  const [first, ...others] = steps
  if (first?.kind === 'trigger' && others.length === 0) return initramfs
  const path = join(directory, name)
  const images = steps.flatMap(step =>
    step.kind === 'update' ? [step.image] : [],
  )
  const content = {
    steps: steps.map(step => guestStep(step, kernel, images)),
    images: images.map(encodeImage),
  }
  await writeFile(path, await buildInitramfs(programs, content))
  return path
}

const guestStep = (
  step: Step,
  kernel: PreparedKernel,
  images: readonly UpdateImage[],
): GuestStep => {
  switch (step.kind) {
    case 'trigger':
    case 'retry':
      return { kind: isAsked(kernel.trigger, kernel) ? step.kind : 'none' }
    case 'offline':
      return step
    case 'kexec':
      return { kind: step.kind }
    case 'machine check':
      return { kind: 'machine-check' }
    case 'update':
      return { kind: step.kind, image: images.indexOf(step.image) }
    case 'plug':
    case 'unplug':
      return { kind: step.kind, range: step.dimm.range }
    case 'kmem':
      return { kind: step.kind, range: step.memory.device }
    case 'online':
      return { kind: step.kind, range: step.memory.range }
    case 'offline memory':
      return { kind: 'offline-memory', range: step.memory.range }
  }
}

/**
 * Whether init asks the kernel to initialise TDX. Steps keep their numbers on
 * one that needs nobody for it, or cannot do it.
 */
const isAsked = (
  trigger: TriggerKind,
  { hostsTdx }: Pick<PreparedKernel, 'hostsTdx'>,
): boolean => hostsTdx && trigger !== 'at boot'
