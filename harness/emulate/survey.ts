import type { KernelImage } from '../kernel/elf.ts'
import { LINEAGES, type Lineage } from '../tdx/host.ts'
import { type Site, searchSites } from './sites.ts'
import { type FeatureBit, findFeatureBit } from './x2apic.ts'

/** How the initialisation of the TDX module is started on a kernel. */
export type TriggerKind =
  /** tdx_cpu_enable() on each CPU, then tdx_enable(): Linux 6.8 to 6.19. */
  | 'tdx_cpu_enable, tdx_enable'
  /** tdx_enable() alone: v5 to v9 of the series. */
  | 'tdx_enable'
  /** By the kernel itself while it boots: Linux 7. */
  | 'at boot'
  /** Nothing a module could call. */
  | 'none'

/** What the rig can use of a kernel. */
export interface Survey {
  /** `6.12.117`; undefined when the image does not say. */
  readonly release: string | undefined
  /** How many there are. */
  readonly symbols: number
  readonly lineage: Lineage | undefined
  readonly sites: readonly Site[]
  /** What TDX host support has and this kernel has not, in words. */
  readonly missing: readonly string[]
  readonly x2apicBit: FeatureBit | undefined
  readonly trigger: TriggerKind
  /** The region list can be read from memory. */
  readonly hasMemlist: boolean
  readonly printsRegions: boolean
  /** It takes tdx_fail_region=. */
  readonly failsRegions: boolean
  /** It can be started as it is, without bzImage. */
  readonly pvh: boolean
}

/** Of our patches (harness/console/catalogue.ts). */
const REGION_LINE = 'TDX memory region: [mem '
/** Messages that together no other series has. */
const MARKS: Readonly<Record<Lineage, readonly string[]>> = {
  // Two blanks; and a list at boot that can fail.
  v6: [
    'Failed to initialize TDX module.  Shut it down.',
    'Build TDX-usable memory regions failed. Disable TDX.',
  ],
  // Both in these words since 6.8; the series before printed fewer digits.
  upstream: [
    'BIOS enabled: private KeyID range',
    'SEAMCALL (0x%016llx) failed: 0x%016llx',
  ],
}
/** How a kernel of the series is made to initialise TDX. */
const TRIGGERS: Readonly<Record<Lineage, TriggerKind>> = {
  v6: 'tdx_enable',
  upstream: 'tdx_cpu_enable, tdx_enable',
}
/** The boot parameter of our patch 5. */
const FAIL_REGION = 'tdx_fail_region'

const TEXTS = [REGION_LINE, FAIL_REGION, ...Object.values(MARKS).flat()]

/** Looks at everything the rig needs, and refuses nothing. */
export const surveyImage = async (image: KernelImage): Promise<Survey> => {
  const { sites, missing } = await searchSites(image)
  const trigger = triggerOf(image)
  const release = await releaseOf(image)
  const texts = await image.textsIn(TEXTS)
  return {
    release,
    symbols: image.symbolCount,
    lineage: lineageOf(texts, trigger, release),
    sites,
    missing,
    trigger,
    x2apicBit: await findFeatureBit(image, sites),
    hasMemlist: image.symbol('tdx_memlist') !== undefined,
    printsRegions: texts.has(REGION_LINE),
    failsRegions: texts.has(FAIL_REGION),
    pvh: image.symbol('pvh_start_xen') !== undefined,
  }
}

const exported = (image: KernelImage, name: string): boolean =>
  image.symbol(`__ksymtab_${name}`) !== undefined

/** subsys_initcall(tdx_enable). */
const BOOT_INITCALL = /^__initcall__kmod_.*_tdx_enable\d$/

const triggerOf = (image: KernelImage): TriggerKind => {
  if (image.symbolsLike('_tdx_enable', BOOT_INITCALL).length > 0)
    return 'at boot'
  if (!exported(image, 'tdx_enable')) return 'none'
  return exported(image, 'tdx_cpu_enable')
    ? 'tdx_cpu_enable, tdx_enable'
    : 'tdx_enable'
}

const lineageOf = (
  texts: ReadonlySet<string>,
  trigger: TriggerKind,
  release: string | undefined,
): Lineage | undefined => {
  const found = LINEAGES.find(
    lineage =>
      TRIGGERS[lineage] === trigger &&
      MARKS[lineage].every(text => texts.has(text)),
  )
  return found === 'upstream' && isAfterUpstream(release) ? undefined : found
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

/** 6.16 and later read metadata that the model does not have yet. */
const isAfterUpstream = (release = ''): boolean => {
  const [major = 0, minor = 0] = release.split('.').map(Number)
  return major > 6 || (major === 6 && minor > 15)
}
