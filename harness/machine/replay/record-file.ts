import * as z from 'zod'
import type { Facts } from '../../console/facts.ts'
import { LEAF, type LeafName } from '../../tdx/leaves.ts'
import type { BootRecord } from '../machine.ts'

/** A boot in a file: all that was seen of it but its console. */

const bigint = z
  .string()
  .regex(/^0x[0-9a-f]{1,16}$/)
  .transform(text => BigInt(text))
const count = z.number().int().min(0)
/** Far more than a command line of the kernel has. */
const MAX_TEXT = 65_536
/** Milliseconds; no boot takes a month. */
const time = z.number().min(0).max(1e10)

const nodeRange = z.strictObject({
  start: count,
  end: count,
  node: z.number().int(),
})
const span = z.strictObject({ base: bigint, size: bigint })

/** What JSON has no word for is left out. */
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess(value => value ?? undefined, schema.optional())

const recordSchema = z.object({
  end: z.enum(['settled', 'exited', 'reset', 'silence', 'deadline']),
  cmdline: z.string().max(MAX_TEXT),
  effectiveCmdline: optional(z.string().max(MAX_TEXT)),
  keyidReads: count,
  seamcalls: z.array(
    z.strictObject({
      leaf: count,
      status: bigint.nullable(),
      cpu: count,
      rcx: bigint,
      rdx: bigint,
      r8: bigint,
    }),
  ),
  unmetFaults: z.array(
    z.object({
      leaf: z.enum(Object.keys(LEAF) as [LeafName]),
      status: bigint,
      cpu: optional(count),
      times: z
        .number()
        .nullable()
        .transform(times => times ?? Infinity),
    }),
  ),
  regions: optional(z.array(nodeRange)),
  regionsAtBoot: optional(z.array(nodeRange)),
  plugged: z.array(z.strictObject({ name: z.string(), status: z.number() })),
  tdmrs: optional(
    z.array(
      z.strictObject({
        base: bigint,
        size: bigint,
        pamt: z.tuple([span, span, span]),
        reserved: z.array(z.strictObject({ offset: bigint, size: bigint })),
      }),
    ),
  ),
  stuck: z.array(
    z.object({ cpu: count, rip: bigint, symbol: optional(z.string()) }),
  ),
  timing: z.strictObject({
    total: time,
    firstByte: time.nullable(),
  }),
  argv: z.array(z.string()),
})

/** The record of a boot as JSON. */
export const recordJson = (record: BootRecord): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.keys(recordSchema.shape).map(key => [
        key,
        record[key as keyof BootRecord],
      ]),
    ),
    (_, value: unknown) =>
      typeof value === 'bigint' ? `0x${value.toString(16)}` : value,
    2,
  )

/** What of a record is read from its console. */
export interface ReadConsole {
  readonly facts: Facts
  readonly tail: readonly string[]
  readonly path: string
}

/** @throws z.ZodError for what is no record */
export const readRecord = (
  data: unknown,
  { facts, tail, path }: ReadConsole,
): BootRecord => {
  const record = recordSchema.parse(data)
  return {
    ...record,
    effectiveCmdline: record.effectiveCmdline,
    unmetFaults: record.unmetFaults.map(fault => ({
      ...fault,
      cpu: fault.cpu,
    })),
    regions: record.regions,
    regionsAtBoot: record.regionsAtBoot,
    tdmrs: record.tdmrs,
    stuck: record.stuck.map(one => ({ ...one, symbol: one.symbol })),
    facts,
    tail,
    consolePath: path,
    timesPath: '',
  }
}
