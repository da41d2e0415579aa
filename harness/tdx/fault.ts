import * as z from 'zod'
import { hex } from '../base/units.ts'
import { LEAF, type LeafName } from './leaves.ts'

/** A fault that the module reports instead of doing the work of a leaf. */
export interface Fault {
  readonly leaf: LeafName
  /** The completion status to return. */
  readonly status: bigint
  /** Only on this logical processor; undefined for any. */
  readonly cpu: number | undefined
  /** How many calls fail before the leaf works; Infinity for all. */
  readonly times: number
}

/** A 64-bit number: `0xc000090000000000`; becomes a bigint. */
const statusSchema = z
  .string({
    error: "expected a status such as '0xc000090000000000', in quotes",
  })
  .refine(value => /^0x[0-9a-f]{1,16}$/i.test(value) && BigInt(value) !== 0n, {
    error: ({ input }) =>
      `expected a status that is an error, such as '0xc000090000000000', found '${String(input)}'`,
  })

const dotted = (leaf: string): string => leaf.replaceAll('_', '.')

const LEAF_NAMES = Object.keys(LEAF).map(dotted) as [string, ...string[]]

/** As scenarios, bundles and results spell it. */
const spelling = z.strictObject({
  leaf: z.enum(LEAF_NAMES),
  status: statusSchema,
  cpu: z.int().min(0).optional().describe('default: any'),
  times: z.int().min(1).optional().describe('default: always'),
})

/** The one spelling of a fault, in both directions. */
export const faultSchema = z.codec(spelling, z.custom<Fault>(), {
  decode: ({ leaf, status, cpu, times = Infinity }): Fault => ({
    leaf: leaf.replaceAll('.', '_') as LeafName,
    status: BigInt(status),
    cpu,
    times,
  }),
  encode: ({ leaf, status, cpu, times }) => ({
    leaf: dotted(leaf),
    status: hex(status),
    ...(cpu !== undefined && { cpu }),
    ...(Number.isFinite(times) && { times }),
  }),
})

/** For documents that hold nothing but JSON. */
export const faultSpelling = spelling

/** Counts which faults of a platform happened, and how often. */
export class Faults {
  readonly #faults: readonly Fault[]
  readonly #hits = new Map<Fault, number>()

  constructor(faults: readonly Fault[]) {
    this.#faults = faults
  }

  /** Faults that no call ever met. */
  get unmet(): readonly Fault[] {
    return this.#faults.filter(fault => !this.#hits.has(fault))
  }

  /** The status this call must fail with, if any; counts it. */
  answer(leaf: number, cpu: number): bigint | undefined {
    for (const fault of this.#faults) {
      if (LEAF[fault.leaf] !== leaf) continue
      if (fault.cpu !== undefined && fault.cpu !== cpu) continue
      const hits = this.#hits.get(fault) ?? 0
      if (hits >= fault.times) continue
      this.#hits.set(fault, hits + 1)
      return fault.status
    }
    return undefined
  }
}
