/** SEAMCALL leaf numbers (TDX module ABI; include/tdx_api_defs.h). */
export const LEAF = {
  PHYMEM_PAGE_RDMD: 24,
  SYS_KEY_CONFIG: 31,
  SYS_INFO: 32,
  SYS_INIT: 33,
  SYS_RD: 34,
  SYS_LP_INIT: 35,
  SYS_TDMR_INIT: 36,
  SYS_RDALL: 37,
  SYS_LP_SHUTDOWN: 44,
  SYS_CONFIG: 45,
  SYS_SHUTDOWN: 52,
  SYS_UPDATE: 53,
  SYS_DISABLE: 69,
  // Of the P-SEAMLDR: bit 63 of RAX stands at bit 16 here.
  SEAMLDR_INFO: 0x10000,
  SEAMLDR_INSTALL: 0x10001,
} as const

export type LeafName = keyof typeof LEAF

/**
 * Leaves that take a version above 0 in RAX 23:16 (tdx_vmm_dispatcher.c):
 * MNG.RD, VP.RD, MEM.PAGE.PROMOTE, MEM.SEPT.ADD and MEM.SEPT.REMOVE. None of
 * them belongs to host initialisation, so the model answers none of them.
 */
export const isVersioned = (leaf: number): boolean => VERSIONED_LEAVES.has(leaf)

const VERSIONED_LEAVES: ReadonlySet<number> = new Set([3, 11, 23, 26, 30])

const NAMES: ReadonlyMap<number, LeafName> = new Map(
  Object.entries(LEAF).map(([name, leaf]) => [leaf, name as LeafName]),
)

const OF_SEAMLDR = 0x10000

/** The number of a leaf, from RAX. */
export const leafOf = (rax: bigint): number =>
  Number(rax & 0xffffn) + (rax >> 63n === 0n ? 0 : OF_SEAMLDR)

/** `SYS_INIT` becomes `TDH.SYS.INIT`, the way the specification writes it. */
export const leafName = (leaf: number): string => {
  const name = NAMES.get(leaf)
  if (!name) return `leaf ${leaf}`
  const dotted = name.replaceAll('_', '.')
  return leaf >= OF_SEAMLDR ? dotted : `TDH.${dotted}`
}
