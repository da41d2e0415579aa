import * as z from 'zod'
import { addressSchema as address, layoutSchema } from './layout-schema.ts'
import { OUTCOMES, STAGES } from '../tdx/outcome.ts'

/** The contract of `tdxrig explain --json`. */

/** What a log calls a status or a register may have any length. */
const value = z.string().regex(/^0x[0-9a-f]+$/)

const line = z.int().describe('1-based line in the file')

const seamcallSchema = z.strictObject({
  leaf: z.int(),
  leafName: z.string(),
  status: value,
  name: z.string().nullable().describe('null: an unknown code'),
  class: z.string(),
  detail: z.string().nullable(),
  initialization: z.boolean().describe('false: a call for a TD or a page'),
  registers: z.record(z.string(), value),
  line,
})

const logSchema = z.strictObject({
  file: z.string(),
  boot: z.int().describe('from 1'),
  lines: z.tuple([line, line]).describe('first and last line of the boot'),
  kernel: z.string().nullable(),
  series: z
    .string()
    .nullable()
    .describe('of the kernel; null: none that the model knows, or no TDX'),
  seriesDoubt: z
    .string()
    .nullable()
    .describe('why the kernel is of no series that the model knows'),
  cmdline: z.string().nullable(),
  cpu: z.string().nullable(),
  module: z
    .strictObject({
      version: z.string(),
      buildNumber: z.int().nullable(),
      buildDate: z.int().nullable().describe('yyyymmdd'),
    })
    .nullable(),
  keyids: z.tuple([z.int(), z.int()]).nullable().describe('[start, end)'),
  cmrs: z.array(z.tuple([address, address])).nullable(),
  outcome: z.enum(OUTCOMES),
  stage: z.enum(STAGES).nullable(),
  errno: z.int().nullable(),
  message: z.string().nullable().describe('the line that decided'),
  messageLine: line.nullable(),
  pamtKiB: z.int().nullable(),
  seamcalls: z.array(seamcallSchema).describe('those reported as failed'),
  incidents: z.array(
    z.strictObject({ kind: z.string(), line, text: z.string() }),
  ),
  asked: z
    .array(
      z.strictObject({
        word: z.string(),
        effect: z
          .enum(['yes', 'no', 'partly', 'unknown'])
          .describe('unknown: the log does not show it'),
        text: z.string(),
      }),
    )
    .describe(
      'mem=, memmap= and other parameters of memory on the command line, in its order',
    ),
  firmware: z
    .array(
      z.strictObject({
        text: z.string(),
        isGood: z
          .boolean()
          .nullable()
          .describe('false: TDX cannot work so; null: it decides nothing'),
      }),
    )
    .describe("what tools' output says of the firmware's part"),
  cause: z.string().nullable(),
  advice: z.array(z.string()),
  workaround: z
    .strictObject({
      words: z.array(z.string()).describe('to be added to the command line'),
      bytes: z.int().describe('memory that is given up'),
      areasLeft: z.int().describe('reserved areas that are left then'),
    })
    .nullable()
    .describe('what was tried on the model; null: nothing is known to help'),
  notes: z.array(z.string()).describe('how far the prediction goes'),
  predicted: z
    .strictObject({
      ...layoutSchema.shape,
      basis: z
        .enum(['machine', 'console'])
        .describe("console: the kernel's own node ranges count"),
      outcome: z.enum(OUTCOMES).nullable(),
      stage: z.enum(STAGES).nullable(),
      errno: z.int().nullable(),
      why: z.string().nullable(),
    })
    .nullable()
    .describe('as in tdxrig predict --json; null: no memory map in the log'),
})

export const explainSchema = z
  .strictObject({
    schema: z.literal('tdxrig.explain/1'),
    logs: z.array(logSchema),
  })
  .meta({ title: 'tdxrig explanation' })

export const explainJsonSchema = (): unknown => z.toJSONSchema(explainSchema)

export type ExplainDocument = z.output<typeof explainSchema>
