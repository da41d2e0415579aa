import * as z from 'zod'
import { hex } from '../base/units.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import { headroomOf } from '../memory/headroom.ts'
import type { Layout, TdmrPrediction } from '../memory/predict.ts'
import { type NodeRange, type Range, sizeOf } from '../memory/range.ts'

/** A layout of memory as JSON. Addresses and sizes are `"0x..."` strings. */

export const addressSchema = z.string().regex(/^0x[0-9a-f]{1,16}$/)

export const rangeSchema = z.strictObject({
  start: addressSchema,
  end: addressSchema.describe('first byte after the range'),
})

export const nodeRangeSchema = rangeSchema.extend({
  node: z.int().describe('negative: none'),
})

export const entrySchema = rangeSchema.extend({
  type: z.string().describe('as kernels before 7.0 print it'),
})

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

const tdmrSchema = z.strictObject({
  base: addressSchema,
  size: addressSchema,
  pamt: z.strictObject({
    sizes: z.array(addressSchema).length(3).describe('for pages of 4K, 2M, 1G'),
    node: z.int(),
  }),
  holes: z.array(rangeSchema),
  reservedAreas: z.strictObject({
    min: z.int(),
    max: z.int(),
    limit: z.int(),
  }),
})

/** What a kernel must make of the memory: of `predict`, `explain` and `run`. */
export const layoutSchema = z.strictObject({
  unpredictable: z
    .array(z.string())
    .describe('parameters that the model does not follow'),
  fatal: z
    .string()
    .nullable()
    .describe('why a kernel does not survive it; null: it does'),
  firmwareMap: z.array(entrySchema),
  extendedMap: z
    .array(entrySchema)
    .nullable()
    .describe('with the entries beyond the 128th; null: there are none'),
  userMap: z
    .array(entrySchema)
    .nullable()
    .describe('after mem= and memmap=; null: neither is given'),
  srat: z.array(nodeRangeSchema.extend({ domain: z.int() })),
  memblock: z.array(nodeRangeSchema),
  numaFallback: z
    .string()
    .nullable()
    .describe('why everything is on node 0; null: the SRAT was used'),
  regions: z.array(nodeRangeSchema),
  tdmrs: z.array(tdmrSchema),
  pamtKiB: z.int(),
  headroom: z.strictObject({
    tdmrs: z.strictObject({ used: z.int(), max: z.int() }),
    reservedAreas: z
      .strictObject({
        atLeast: z.int(),
        atMost: z.int(),
        max: z.int(),
        tdmr: rangeSchema,
      })
      .nullable()
      .describe('of the TDMR that needs most; null: there is no TDMR'),
    pamt: z.strictObject({
      KiB: z.number(),
      share: z.number().describe('of the memory in the regions, 0 to 1'),
    }),
  }),
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
