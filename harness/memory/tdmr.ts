import { GIB, KIB, MIB, PAGE_SIZE, alignDown, alignUp } from '../base/units.ts'
import { type NodeRange, type Range, sizeOf } from './range.ts'

/** Limits the TDX module reports through its metadata. */
export interface TdmrLimits {
  readonly maxTdmrs: number
  readonly maxReservedPerTdmr: number
  /** Bytes of one PAMT entry for pages of 4K, 2M and 1G. */
  readonly pamtEntrySizes: readonly [number, number, number]
}

/** A TDMR as tdx.c builds it, before PAMT addresses are known. */
export interface TdmrModel extends Range {
  /** Bytes of the PAMT for pages of 4 KiB, 2 MiB and 1 GiB. */
  readonly pamtSizes: readonly [number, number, number]
  /** Node asked for the PAMT (tdmr_get_nid()). */
  readonly pamtNode: number
  /** Holes between regions, ascending: each takes one reserved area. */
  readonly holes: readonly Range[]
}

/**
 * fill_out_tdmrs() (arch/x86/virt/vmx/tdx/tdx.c): one TDMR per region,
 * rounded out to 1 GiB; what an earlier TDMR already covers is skipped.
 *
 * @param regions TDX memory regions, ascending
 */
export const fillOutTdmrs = (regions: readonly Range[]): Range[] => {
  const tdmrs: Range[] = []
  for (const region of regions) {
    const end = alignUp(region.end, GIB)
    const covered = tdmrs.at(-1)?.end ?? 0
    if (end <= covered) continue
    tdmrs.push({ start: Math.max(alignDown(region.start, GIB), covered), end })
  }
  return tdmrs
}

/** tdmr_get_pamt_sz(): entries times entry size, rounded up to 4 KiB. */
const pamtSize = (tdmr: Range, page: number, entry: number): number =>
  alignUp((sizeOf(tdmr) / page) * entry, PAGE_SIZE)

const pamtSizes = (
  tdmr: Range,
  [of4k, of2m, of1g]: TdmrLimits['pamtEntrySizes'],
): [number, number, number] => [
  pamtSize(tdmr, PAGE_SIZE, of4k),
  pamtSize(tdmr, 2 * MIB, of2m),
  pamtSize(tdmr, GIB, of1g),
]

/** tdmr_get_nid(): the node of the first region that ends after the base. */
const pamtNode = (tdmr: Range, regions: readonly NodeRange[]): number =>
  regions.find(region => region.end > tdmr.start)?.node ?? 0

/** tdmr_populate_rsvd_holes(): what of a TDMR no region covers. */
export const tdmrHoles = (tdmr: Range, regions: readonly Range[]): Range[] => {
  const holes: Range[] = []
  let previous = tdmr.start
  for (const { start, end } of regions) {
    if (start >= tdmr.end) break
    if (end < tdmr.start) continue
    if (start > previous) holes.push({ start: previous, end: start })
    previous = end
  }
  if (previous < tdmr.end) holes.push({ start: previous, end: tdmr.end })
  return holes
}

/** The TDMRs for a list of regions, whether or not they are too many. */
export const modelTdmrs = (
  regions: readonly NodeRange[],
  limits: TdmrLimits,
): TdmrModel[] =>
  fillOutTdmrs(regions).map(tdmr => ({
    start: tdmr.start,
    end: tdmr.end,
    pamtSizes: pamtSizes(tdmr, limits.pamtEntrySizes),
    pamtNode: pamtNode(tdmr, regions),
    holes: tdmrHoles(tdmr, regions),
  }))

/** Bytes of all PAMTs together. */
export const pamtBytes = (tdmrs: readonly TdmrModel[]): number => {
  let sum = 0
  for (const { pamtSizes } of tdmrs)
    sum += pamtSizes[0] + pamtSizes[1] + pamtSizes[2]
  return sum
}

/** tdmrs_count_pamt_kb(). */
export const pamtKib = (tdmrs: readonly TdmrModel[]): number =>
  pamtBytes(tdmrs) / KIB
