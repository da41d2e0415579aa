import { UsageError } from '../base/errors.ts'
import type { KernelImage } from '../kernel/elf.ts'
import { linuxVersion } from '../tdx/series/recognise.ts'
import { type Fixup, findFixups } from './fixups.ts'
import { type Patch, findPatches } from './patches.ts'
import { type Site, type SiteSearch, searchSites } from './sites.ts'
import { type PaddedSite, findPaddedSites } from './stop-pads.ts'
import { type TextGap, findTextGap } from './text-gap.ts'
import { type FeatureBit, findFeatureBit } from './x2apic.ts'

/** What of a kernel the emulation needs to know; the same for every boot. */
export interface KernelSites {
  /** It calls the TDX module; else only its memory layout can be judged. */
  readonly hostsTdx: boolean
  readonly sites: readonly Site[]
  /** Virtual address of the list of TDX memory regions. */
  readonly memlist: bigint | undefined
  /**
   * What native_read_msr_safe() gives, where it is called
   * (arch/x86/include/asm/msr.h): before 6.16 the value, with the error where
   * RSI points to; then the error, with the value there.
   */
  readonly safeMsrReadGives: 'value' | 'error'
  /** Address of the pointer `saved_command_line` (init/main.c). */
  readonly savedCommandLine: bigint | undefined
  /**
   * Address of `phys_base` (arch/x86/kernel/head_64.S): how far the kernel runs
   * above the address it was linked for.
   */
  readonly physBase: bigint | undefined
  /** What x2apic_enabled() reads; undefined when TDX does not ask for it. */
  readonly x2apicBit: FeatureBit | undefined
  readonly patches: readonly Patch[]
  /** It has static keys (CONFIG_JUMP_LABEL). */
  readonly patchesItself: boolean
  /** Where the kernel goes on when a site faults, by its address. */
  readonly fixups: ReadonlyMap<bigint, Fixup>
  /**
   * Called when the list is complete and not used yet, by kernels that read
   * metadata before they build it: alloc_tdmr_list() begins with
   * alloc_pages_exact() (arch/x86/virt/vmx/tdx/tdx.c).
   */
  readonly listReady: bigint | undefined
  /**
   * x86_64_start_kernel() (arch/x86/kernel/head64.c): the kernel is mapped, and
   * RDI has the physical address of the boot parameters.
   */
  readonly entry: bigint | undefined
  /**
   * smp_init() (kernel/smp.c): the early initcalls are done, memory devices are
   * not looked for yet, and no SEAMCALL was made.
   */
  readonly smpInit: bigint | undefined
  /** Where code can be put into the guest; undefined: nowhere. */
  readonly textGap: TextGap | undefined
  /** Sites that can be left for such code. */
  readonly paddedSites: readonly PaddedSite[]
}

/** The interposed instructions of an image, and what is missing of them. */
export interface InterposedCode extends SiteSearch {
  /** Symbols that only a kernel with TDX host support has. */
  readonly marks: readonly string[]
  readonly x2apicBit: FeatureBit | undefined
}

/** Looks for every interposed instruction, and refuses nothing. */
export const interposedCode = async (
  image: KernelImage,
): Promise<InterposedCode> => {
  const { sites, missing } = await searchSites(image)
  return {
    sites,
    missing,
    x2apicBit: await findFeatureBit(image, sites),
    marks: MARKS.filter(name => image.symbol(name) !== undefined),
  }
}

/** 6.16 */
const GIVES_ERROR = 6_016

/** Guests have none of them (arch/x86/virt/vmx/tdx). */
const MARKS = [
  '__seamcall',
  '__seamcall_ret',
  'tdx_enable',
  'tdx_cpu_enable',
  'tdx_memlist',
]

/** The kernel calls the TDX module. */
export const hostsTdx = ({ sites }: Pick<InterposedCode, 'sites'>): boolean =>
  sites.some(({ kind }) => kind === 'seamcall')

/**
 * @param release of the kernel; unknown: it is new
 * @throws UsageError when the image has a part of TDX host support only
 */
export const locate = async (
  image: KernelImage,
  release?: string,
): Promise<KernelSites> => {
  const code = await interposedCode(image)
  const { missing, x2apicBit, marks } = code
  const hosts = hostsTdx(code)
  if ((hosts || marks.length > 0) && missing.length > 0)
    throw new UsageError(
      'NO_TDX_HOST',
      `expected ${missing.join(' and ')} of ${image.path}, found ${marks.join(', ') || 'SEAMCALL'} and not that: the rig does not know this form of TDX host support`,
    )
  // Without it nothing is to be answered: KVM alone has VMXON and VMXOFF too.
  const sites = hosts ? code.sites : []
  return {
    hostsTdx: hosts,
    sites,
    memlist: image.symbol('tdx_memlist')?.address,
    safeMsrReadGives:
      (linuxVersion(release) ?? GIVES_ERROR) < GIVES_ERROR ? 'value' : 'error',
    savedCommandLine: image.symbol('saved_command_line')?.address,
    physBase: image.symbol('phys_base')?.address,
    x2apicBit,
    patches: hosts ? await findPatches(image) : [],
    patchesItself: image.symbol('arch_jump_label_transform') !== undefined,
    fixups: await findFixups(image, sites),
    listReady: (
      image.symbol('alloc_pages_exact_noprof') ??
      image.symbol('alloc_pages_exact')
    )?.address,
    entry: image.symbol('x86_64_start_kernel')?.address,
    smpInit: image.symbol('smp_init')?.address,
    textGap: findTextGap(image),
    paddedSites: await findPaddedSites(image, sites),
  }
}
