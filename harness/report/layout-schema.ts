import * as z from 'zod'

/** The form of a layout of memory as JSON; addresses are `"0x..."` strings. */

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
