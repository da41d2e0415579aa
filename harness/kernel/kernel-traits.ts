import { UsageError } from '../base/errors.ts'
import type { Series } from '../tdx/series/index.ts'
import {
  IMAGE_TEXTS,
  seriesOfImage,
  whyUnknown,
} from '../tdx/series/recognise.ts'
import type { TriggerKind } from '../tdx/series/series.ts'
import type { KernelImage } from './elf.ts'
import type { Recipe } from './recipe.ts'

/** What a kernel image says about itself. */
export interface KernelTraits {
  /** `6.12.117`; undefined when the image does not say. */
  readonly release: string | undefined
  /** Number of symbols. */
  readonly symbols: number
  /** Undefined: a series the model does not know. */
  readonly series: Series | undefined
  readonly trigger: TriggerKind
  /** The region list can be read from memory. */
  readonly hasMemlist: boolean
  /** It prints the region list when it has built it. */
  readonly printsRegions: boolean
  /** It takes tdx_fail_region=. */
  readonly failsRegions: boolean
  /** It can be started as it is, without bzImage. */
  readonly pvh: boolean
}

/** Of our patches (harness/console/catalogue.ts). */
const REGION_LINE = 'TDX memory region: [mem '
/** The boot parameter of our patch 5 for 6.1. */
const FAIL_REGION = 'tdx_fail_region'

/** Looks at everything but the code, and refuses nothing. */
export const kernelTraits = async (
  image: KernelImage,
): Promise<KernelTraits> => {
  const trigger = triggerOf(image)
  const release = await releaseOf(image)
  const texts = await image.textsIn([REGION_LINE, FAIL_REGION, ...IMAGE_TEXTS])
  return {
    release,
    symbols: image.symbolCount,
    series: seriesOfImage({ release, trigger, texts }),
    trigger,
    hasMemlist: image.symbol('tdx_memlist') !== undefined,
    printsRegions: texts.has(REGION_LINE),
    failsRegions: texts.has(FAIL_REGION),
    pvh: image.symbol('pvh_start_xen') !== undefined,
  }
}

const exported = (image: KernelImage, name: string): boolean =>
  image.symbol(`__ksymtab_${name}`) !== undefined

/** subsys_initcall(tdx_enable), as Linux 7 has it. */
const BOOT_INITCALL = /^__initcall__kmod_.*_tdx_enable\d$/

const triggerOf = (image: KernelImage): TriggerKind => {
  if (image.symbolsLike('_tdx_enable', BOOT_INITCALL).length > 0)
    return 'at boot'
  if (!exported(image, 'tdx_enable')) return 'none'
  return exported(image, 'tdx_cpu_enable')
    ? 'tdx_cpu_enable, tdx_enable'
    : 'tdx_enable'
}

/** linux_banner (init/version.c): `Linux version 6.12.117 (...) #1 SMP ...`. */
export const bannerOf = async (
  image: KernelImage,
): Promise<string | undefined> => {
  const banner = image.symbol('linux_banner')
  if (!banner) return undefined
  const text = Buffer.from(await image.bytesAt(banner.address, 512))
  return /^[^\0\n]*/.exec(text.toString('latin1'))?.[0]
}

const releaseOf = async (image: KernelImage): Promise<string | undefined> =>
  /^Linux version (\S+)/.exec((await bannerOf(image)) ?? '')?.[1]

/**
 * A recipe that states its series must build a kernel of it.
 *
 * @throws UsageError when it builds another
 */
export const verifySeries = (
  { name, series: stated }: Pick<Recipe, 'name' | 'series'>,
  { series: found, release }: KernelTraits,
): void => {
  if (!stated || stated.name === found?.name) return
  throw new UsageError(
    'KERNEL_SERIES',
    `kernel '${name}': its recipe states 'series: ${stated.name}' (${stated.title}), and the image is ${found ? `of ${found.title} ('${found.name}')` : `of another: ${whyUnknown(release)}`}; correct kernel.yaml, its source or its patches`,
  )
}
