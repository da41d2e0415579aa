import type * as z from 'zod'
import { hex } from '../base/units.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import { headroomOf } from '../memory/headroom.ts'
import type { Layout, TdmrPrediction } from '../memory/predict.ts'
import { type NodeRange, type Range, sizeOf } from '../memory/range.ts'
import type {
  entrySchema,
  layoutSchema,
  nodeRangeSchema,
  rangeSchema,
} from './layout-schema.ts'

/** A layout of memory as JSON. Addresses and sizes are `"0x..."` strings. */

export const rangeJson = ({
  start,
  end,
}: Range): z.output<typeof rangeSchema> => ({
  start: hex(start),
  end: hex(end),
})

export const nodeRangeJson = (
  range: NodeRange,
): z.output<typeof nodeRangeSchema> => ({
  ...rangeJson(range),
  node: range.node,
})

export const entryJson = (entry: E820Entry): z.output<typeof entrySchema> => ({
  ...rangeJson(entry),
  type: e820TypeName(entry.type),
})

export type LayoutJson = z.output<typeof layoutSchema>

export const layoutJson = (layout: Layout): LayoutJson => ({
  ...memoryJson(layout),
  regions: layout.regions.map(nodeRangeJson),
})

/** All of it but the regions, which stand beside those that were seen. */
export const memoryJson = (layout: Layout): Omit<LayoutJson, 'regions'> => ({
  unpredictable: [...layout.unpredictable],
  fatal: layout.fatal?.why ?? null,
  firmwareMap: layout.firmwareMap.map(entryJson),
  extendedMap: layout.extendedMap?.map(entryJson) ?? null,
  userMap: layout.userMap?.map(entryJson) ?? null,
  srat: layout.srat.map(block => ({
    ...nodeRangeJson(block),
    domain: block.domain,
  })),
  memblock: layout.memblock.map(nodeRangeJson),
  numaFallback: layout.numaFallback ?? null,
  tdmrs: layout.tdmrs.map(tdmr => tdmrJson(tdmr, layout)),
  pamtKiB: layout.pamtKib,
  headroom: headroomJson(layout),
})

const tdmrJson = (
  tdmr: TdmrPrediction,
  { limits }: Layout,
): LayoutJson['tdmrs'][number] => ({
  base: hex(tdmr.start),
  size: hex(sizeOf(tdmr)),
  pamt: { sizes: tdmr.pamtSizes.map(hex), node: tdmr.pamtNode },
  holes: tdmr.holes.map(rangeJson),
  reservedAreas: {
    min: tdmr.holes.length + tdmr.pamtAreas.min,
    max: tdmr.holes.length + tdmr.pamtAreas.max,
    limit: limits.maxReservedPerTdmr,
  },
})

const headroomJson = (layout: Layout): LayoutJson['headroom'] => {
  const { tdmrs, reservedAreas, pamt } = headroomOf(layout)
  return {
    tdmrs: { ...tdmrs },
    reservedAreas: reservedAreas
      ? { ...reservedAreas, tdmr: rangeJson(reservedAreas.tdmr) }
      : null,
    pamt: { KiB: pamt.kib, share: pamt.share },
  }
}
