import * as z from 'zod'

/**
 * What KCIDB takes of a report, as far as ours go
 * (kcidb-io, kcidb_io/schema/v05_03.py): names, patterns and limits of it, and
 * nothing beyond that.
 */

/** Of a log, in characters. */
export const MAX_EXCERPT = 16_384

const originSchema = z.string().regex(/^[a-z0-9_]+$/)
const id = z.string().regex(/^[a-z0-9_]+:[^\0]*$/)
const text = z.string().regex(/^[^\0]*$/)
const path = z.string().regex(/^([a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*)?$/)
const status = z.enum(['FAIL', 'ERROR', 'MISS', 'PASS', 'DONE', 'SKIP'])
const misc = z.record(z.string(), z.unknown())

export const kcidbSchema = z.strictObject({
  version: z.strictObject({
    major: z.literal(5),
    minor: z.int().min(0).max(3),
  }),
  checkouts: z.array(
    z.strictObject({
      id,
      origin: originSchema,
      tree_name: text,
      comment: text,
      valid: z.boolean(),
    }),
  ),
  builds: z.array(
    z.strictObject({
      id,
      checkout_id: id,
      origin: originSchema,
      architecture: z.string().regex(/^[a-z0-9_]*$/),
      config_name: text,
      status,
    }),
  ),
  tests: z.array(
    z.strictObject({
      id,
      build_id: id,
      origin: originSchema,
      path,
      comment: text,
      status,
      start_time: z.iso.datetime({ offset: true }),
      duration: z.number(),
      environment: z.strictObject({ comment: text, misc }),
      log_excerpt: text.max(MAX_EXCERPT).optional(),
      misc,
    }),
  ),
})

export type KcidbReport = z.output<typeof kcidbSchema>

/** What a submitter may be called. */
export const isOrigin = (name: string): boolean =>
  originSchema.safeParse(name).success
