import * as z from 'zod'
import { METADATA, METADATA_NAMES } from '../tdx/metadata-values.ts'

/** As scenarios spell them. */
export const metadataSchema = z
  .partialRecord(
    z.enum(METADATA_NAMES, {
      error: `expected a field of the metadata: ${METADATA_NAMES.join(', ')}`,
    }),
    z.union([z.int().min(0), z.literal('missing')], {
      error: "expected a number, or 'missing'",
    }),
  )
  .superRefine((values, context) => {
    for (const name of METADATA_NAMES) {
      const value = values[name]
      const { bits } = METADATA[name]
      if (typeof value === 'number' && value >= 2 ** bits)
        context.addIssue({
          code: 'custom',
          path: [name],
          message: `expected a number of ${bits} bits, found ${value}`,
        })
    }
  })
  .describe('What the module says of itself instead of the usual.')
