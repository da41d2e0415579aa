import * as z from 'zod'
import { ALLOCATION_KINDS } from '../emulate/allocation-sites.ts'
import { ALLOCATION_STATES } from '../emulate/ledger.ts'
import { faultSchema } from '../tdx/fault.ts'
import { type BootRecord, END_REASONS } from './record.ts'

/** A boot in a file: all that was seen of it but its console. */

const bigint = z.codec(z.string().regex(/^0x[0-9a-f]{1,16}$/), z.bigint(), {
  decode: text => BigInt(text),
  encode: value => `0x${value.toString(16)}`,
})
const count = z.int().min(0)
/** Far more than a command line of the kernel has. */
const text = z.string().max(65_536)
/** Milliseconds; no boot takes a month. */
const time = z.number().min(0).max(1e10)

const nodeRange = z.strictObject({ start: count, end: count, node: z.int() })
const span = z.strictObject({ base: bigint, size: bigint })

const tdmr = z.strictObject({
  base: bigint,
  size: bigint,
  pamt: z.tuple([span, span, span]),
  reserved: z.array(z.strictObject({ offset: bigint, size: bigint })),
})

const seamcall = z.strictObject({
  leaf: count,
  status: bigint.nullable(),
  cpu: count,
  rcx: bigint,
  rdx: bigint,
  r8: bigint,
})

const ledger = z.strictObject({
  allocations: z.array(
    z.strictObject({
      number: count,
      kind: z.enum(ALLOCATION_KINDS),
      bytes: count,
      by: z.string(),
      callee: z.string(),
      state: z.enum(ALLOCATION_STATES),
      resetBytes: count.nullable().default(null),
    }),
  ),
  freedTwice: z.array(z.string()),
})

const memory = z
  .strictObject({
    regions: z.array(nodeRange).nullable(),
    regionsAtBoot: z.array(nodeRange).nullable(),
    allocations: ledger.nullable().default(null),
    cmdline: text.nullable(),
  })
  .nullable()

const moduleSeen = z
  .strictObject({
    seamcalls: z.array(seamcall),
    tdmrs: z.array(tdmr).nullable(),
    keyidReads: count,
    unmetFaults: z.array(faultSchema),
  })
  .nullable()

const recordSchema = z.strictObject({
  end: z.enum(END_REASONS),
  stuck: z.array(
    z.strictObject({ cpu: count, rip: bigint, symbol: z.string().nullable() }),
  ),
  timing: z.strictObject({ total: time, firstByte: time.nullable() }),
  start: z.strictObject({
    cmdline: text,
    argv: z.array(z.string()),
    snapshot: z.boolean().optional(),
  }),
  witnesses: z.strictObject({
    console: z
      .strictObject({
        path: z.string(),
        timesPath: z.string().nullable(),
        lossy: z.boolean().default(false),
      })
      .nullable(),
    memory,
    module: moduleSeen,
    steps: z
      .strictObject({
        plugged: z.array(
          z.strictObject({ name: z.string(), status: z.number() }),
        ),
      })
      .nullable(),
  }),
  next: z
    .strictObject({
      cmdline: text,
      memory,
      module: moduleSeen,
      physBase: z.int().nullable(),
    })
    .optional(),
})

/** The record of a boot as JSON. A field that the schema lacks throws. */
export const recordJson = (record: BootRecord): string =>
  JSON.stringify(z.encode(recordSchema, record as never), null, 2)

/**
 * @param consolePath where its console is now; null: there is none
 * @throws z.ZodError for what is no record
 */
export const readRecord = (
  data: unknown,
  consolePath: string | null,
): BootRecord => {
  const record: BootRecord = z.decode(recordSchema, data as never)
  const console =
    record.witnesses.console && consolePath !== null
      ? { ...record.witnesses.console, path: consolePath, timesPath: null }
      : null
  return { ...record, witnesses: { ...record.witnesses, console } }
}
