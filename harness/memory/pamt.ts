import { GIB, MIB } from '../base/units.ts'
import {
  type NodeRange,
  type Range,
  contains,
  overlaps,
  sizeOf,
} from './range.ts'
import type { TdmrModel } from './tdmr.ts'

/** End of ZONE_DMA32 (arch/x86/mm/init.c). */
const DMA32_END = 4 * GIB

/**
 * Room a zone must have, in one piece, before we say that a PAMT is surely
 * taken from it: alloc_contig_pages() (mm/page_alloc.c) tries aligned windows
 * from the zone's start and skips those with pages in use, which after a boot
 * are the kernel, the initrd and struct pages.
 */
const roomFor = (bytes: number): number => 64 * MIB + 8 * bytes

/**
 * Where the PAMT of a TDMR can lie. The zone list of its node starts with that
 * node's highest zone; only when it is short of room anything may be taken.
 */
const pamtCandidates = (
  node: number,
  bytes: number,
  regions: readonly NodeRange[],
): readonly Range[] => {
  const local = regions.filter(region => region.node === node)
  const normal = local.flatMap(({ start, end }) =>
    end > DMA32_END ? [{ start: Math.max(start, DMA32_END), end }] : [],
  )
  const zone = normal.length > 0 ? normal : local
  const largest = Math.max(0, ...zone.map(sizeOf))
  return largest >= roomFor(bytes) ? zone : regions
}

/** How many reserved areas a TDMR needs for PAMTs, at least and at most. */
export interface AreaBounds {
  readonly min: number
  readonly max: number
}

/** tdmr_populate_rsvd_pamts(), as far as it is determined before the boot. */
export const pamtAreaBounds = (
  tdmr: Range,
  tdmrs: readonly TdmrModel[],
  regions: readonly NodeRange[],
): AreaBounds => {
  let min = 0
  let max = 0
  for (const { pamtNode, pamtSizes } of tdmrs) {
    const bytes = tdmrs
      .filter(other => other.pamtNode === pamtNode)
      .reduce((sum, other) => sum + pamtTotal(other.pamtSizes), 0)
    if (pamtTotal(pamtSizes) === 0) continue
    const candidates = pamtCandidates(pamtNode, bytes, regions)
    if (candidates.every(range => contains(tdmr, range))) min++
    if (candidates.some(range => overlaps(tdmr, range))) max++
  }
  return { min, max }
}

const pamtTotal = (sizes: readonly number[]): number =>
  sizes.reduce((sum, size) => sum + size, 0)
