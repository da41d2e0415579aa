import { GIB, MIB } from '../base/units.ts'
import type { PamtSource } from './cmdline.ts'
import {
  type NodeRange,
  type Range,
  contains,
  overlaps,
  sizeOf,
  subtract,
} from './range.ts'
import { type TdmrModel, pamtBytes } from './tdmr.ts'

/** End of ZONE_DMA32 (arch/x86/mm/init.c). */
const DMA32_END = 4 * GIB

/**
 * Room a zone must have, in one piece, before we say that a PAMT is surely
 * taken from it: alloc_contig_pages() (mm/page_alloc.c) tries one window behind
 * the other from the zone's start, and skips those with pages in use, which
 * after a boot are the kernel, the initrd and struct pages. The first window is
 * ALIGN(start, pages), which aligns to nothing where the number of pages is no
 * power of two: that of a PAMT hardly ever is.
 */
const roomFor = (bytes: number): number => 64 * MIB + 8 * bytes

/** What the placement of PAMTs depends on. */
export interface PamtPlan {
  readonly tdmrs: readonly TdmrModel[]
  readonly regions: readonly NodeRange[]
  readonly source: PamtSource
  /** ZONE_MOVABLE, from which alloc_contig_pages() never takes for a kernel. */
  readonly movable: readonly Range[]
}

const largest = (ranges: readonly Range[]): number => {
  let size = 0
  for (const range of ranges) size = Math.max(size, sizeOf(range))
  return size
}

/**
 * Where the PAMT of a TDMR can lie. The zone list of its node starts with that
 * node's highest zone; only when it is short of room anything may be taken.
 */
const candidates = (
  node: number,
  regions: readonly NodeRange[],
  { tdmrs, source }: PamtPlan,
): readonly NodeRange[] => {
  if (source !== 'usual') return regions
  const zone = highestZone(node, regions)
  const bytes = pamtBytes(tdmrs.filter(({ pamtNode }) => pamtNode === node))
  return largest(zone) >= roomFor(bytes) ? zone : regions
}

const highestZone = (
  node: number,
  regions: readonly NodeRange[],
): readonly NodeRange[] => {
  const low: NodeRange[] = []
  const normal: NodeRange[] = []
  for (const region of regions) {
    if (region.node !== node) continue
    const { start, end } = region
    if (end <= DMA32_END) low.push(region)
    else if (start >= DMA32_END) normal.push(region)
    else normal.push({ start: DMA32_END, end, node })
  }
  return normal.length > 0 ? normal : low
}

/** gfp_zone() limits the zone list of GFP_KERNEL (include/linux/gfp.h). */
const unmovable = ({ regions, movable }: PamtPlan): readonly NodeRange[] =>
  movable.length === 0
    ? regions
    : regions.flatMap(region =>
        subtract(region, movable).map(({ start, end }) => ({
          start,
          end,
          node: region.node,
        })),
      )

/** No piece of memory is surely large enough: -ENOMEM cannot be excluded. */
export const pamtMayNotFit = (plan: PamtPlan): boolean =>
  plan.source === 'scarce' ||
  largest(unmovable(plan)) < roomFor(pamtBytes(plan.tdmrs))

/** How many reserved areas a TDMR needs for PAMTs, at least and at most. */
export interface AreaBounds {
  readonly min: number
  readonly max: number
}

/** What is known of PAMTs before the boot, of a TDMR. */
export interface PamtPlacement {
  /** Of all PAMTs that may fall into it. */
  readonly pamtAreas: AreaBounds
  /** Nodes on which its own PAMT can lie, ascending. */
  readonly pamtNodes: readonly number[]
}

/**
 * tdmr_populate_rsvd_pamts(), as far as it is determined before the boot.
 *
 * @returns for each TDMR of the plan
 */
export const placePamts = (plan: PamtPlan): PamtPlacement[] => {
  const byNode = new Map<number, Placing>()
  const regions = unmovable(plan)
  for (const { pamtNode } of plan.tdmrs) {
    const placing = byNode.get(pamtNode)
    if (placing) placing.pamts++
    else byNode.set(pamtNode, placingOn(pamtNode, regions, plan))
  }
  return plan.tdmrs.map(tdmr => {
    let min = 0
    let max = 0
    for (const { ranges, span, pamts } of byNode.values()) {
      if (ranges.length > 0 && contains(tdmr, span)) min += pamts
      if (overlaps(tdmr, span) && ranges.some(range => overlaps(tdmr, range)))
        max += pamts
    }
    const { nodes } = byNode.get(tdmr.pamtNode)!
    return { pamtAreas: { min, max }, pamtNodes: nodes }
  })
}

/** The PAMTs that one node is asked for. */
interface Placing {
  /** Where they can lie. */
  readonly ranges: readonly NodeRange[]
  /** From the lowest of those to the highest. */
  readonly span: Range
  /** Of those ranges, ascending. */
  readonly nodes: readonly number[]
  /** How many there are. */
  pamts: number
}

/** What is read from a log may stand in any order. */
const spanOf = (ranges: readonly Range[]): Range => {
  let start = Infinity
  let end = 0
  for (const range of ranges) {
    start = Math.min(start, range.start)
    end = Math.max(end, range.end)
  }
  return { start, end }
}

const placingOn = (
  node: number,
  regions: readonly NodeRange[],
  plan: PamtPlan,
): Placing => {
  const ranges = candidates(node, regions, plan)
  const nodes: number[] = []
  for (const range of ranges)
    if (!nodes.includes(range.node)) nodes.push(range.node)
  if (nodes.length > 1) nodes.sort((a, b) => a - b)
  return { ranges, span: spanOf(ranges), nodes, pamts: 1 }
}
