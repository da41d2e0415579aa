import { UsageError } from '../base/errors.ts'
import type { Series } from '../tdx/series/index.ts'
import {
  IMAGE_TEXTS,
  linuxVersion,
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
  /** It has hibernation (CONFIG_HIBERNATION), and `nohibernate` to disable it. */
  readonly hibernates: boolean
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
  const trigger = await triggerOf(image)
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
    hibernates: image.symbol('nohibernate_setup') !== undefined,
    pvh: image.symbol('pvh_start_xen') !== undefined,
  }
}

/**
 * What modules may call. Kallsyms without CONFIG_KALLSYMS_ALL has no symbols
 * of data: then the names in __ksymtab_strings tell.
 */
const exportsOf = async (
  image: KernelImage,
  names: readonly string[],
): Promise<ReadonlySet<string>> => {
  if (image.symbolsLike('__ksymtab_', /^__ksymtab_/).length > 0)
    return new Set(
      names.filter(name => image.symbol(`__ksymtab_${name}`) !== undefined),
    )
  const found = await image.textsIn(names.map(name => `\0${name}\0`))
  return new Set(names.filter(name => found.has(`\0${name}\0`)))
}

/** Linux 7 has subsys_initcall(tdx_enable), and no caller after boot. */
const isBootOnly = (image: KernelImage): boolean => {
  const at = image.symbol('tdx_enable')?.address
  const start = image.symbol('_sinittext')?.address
  const end = image.symbol('_einittext')?.address
  if (at === undefined || start === undefined || end === undefined) return false
  return at >= start && at < end
}

const triggerOf = async (image: KernelImage): Promise<TriggerKind> => {
  if (isBootOnly(image)) return 'at boot'
  const exported = await exportsOf(image, ['tdx_enable', 'tdx_cpu_enable'])
  if (!exported.has('tdx_enable')) return 'none'
  return exported.has('tdx_cpu_enable')
    ? 'tdx_cpu_enable, tdx_enable'
    : 'tdx_enable'
}

/**
 * linux_banner (init/version.c): `Linux version 6.12.117 (...) #1 SMP ...`.
 * Kallsyms may not name it, and nothing else looks like it.
 */
export const bannerOf = async (
  image: KernelImage,
): Promise<string | undefined> => {
  const banner = image.symbol('linux_banner')
  if (!banner) return image.textLike('Linux version ', /^Linux version \d+\./)
  const text = Buffer.from(await image.bytesAt(banner.address, 512))
  return /^[^\0\n]*/.exec(text.toString('latin1'))?.[0]
}

/** The first with messages of NUMA and e820 as the rig reads them, and of TDX. */
const OLDEST = 5_019

export const isTooOld = ({ release }: Pick<KernelTraits, 'release'>): boolean =>
  (linuxVersion(release) ?? OLDEST) < OLDEST

/** @throws UsageError when the kernel is older than any the rig knows */
export const verifyAge = (
  { release }: Pick<KernelTraits, 'release'>,
  path: string,
): void => {
  if (isTooOld({ release }))
    throw new UsageError(
      'KERNEL_TOO_OLD',
      `expected Linux 5.19 or later, found ${release ?? ''} at ${path}: how older kernels lay out memory is not modelled; give a newer one`,
    )
}

const releaseOf = async (image: KernelImage): Promise<string | undefined> =>
  /^Linux version ([\w.+~-]+)/.exec((await bannerOf(image)) ?? '')?.[1]

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
