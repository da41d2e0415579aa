import { MAX_CMRS, MODULE_LIMITS, type Platform } from './platform.ts'
import { PROFILES } from './profile.ts'

/** The first module that has metadata to read. */
const MODULE = PROFILES['1.5']

/**
 * Global metadata fields of module 1.5.01
 * (include/auto_gen/global_sys_fields_lookup.c). Only class (61:56) and field
 * code (23:0) select a field; size and context bits are ignored by SYS.RD.
 */
const FIXED: readonly (readonly [id: bigint, value: bigint])[] = [
  [0x9100000100000008n, BigInt(MODULE_LIMITS.maxTdmrs)],
  [0x9100000100000009n, BigInt(MODULE_LIMITS.maxReservedPerTdmr)],
  [0x9100000100000010n, BigInt(MODULE_LIMITS.pamtEntrySize)],
  [0x9100000100000011n, BigInt(MODULE_LIMITS.pamtEntrySize)],
  [0x9100000100000012n, BigInt(MODULE_LIMITS.pamtEntrySize)],
  // TDX_FEATURES0; bit 18 (NO_RBP_MOD) is what 6.16 and later insist on.
  [0x0a00000300000008n, 0xf0ebfn],
  [0x0800000200000000n, 0x8086n],
  [0x0800000100000003n, BigInt(MODULE.minorVersion)],
  [0x0800000100000004n, BigInt(MODULE.majorVersion)],
  [0x0800000100000005n, 1n],
  [0x0800000100000006n, 0n],
  [0x8800000200000001n, BigInt(MODULE.buildDate)],
  [0x8800000100000002n, BigInt(MODULE.buildNumber)],
  // Always the size of the table, whatever the number of real CMRs.
  [0x9000000100000000n, BigInt(MAX_CMRS)],
]

/** Class in 61:56 and field code in 23:0, joined. */
const keyOf = (id: bigint): bigint =>
  (((id >> 56n) & 0x3fn) << 24n) | (id & 0xffffffn)

const CMR_BASE = 0x9000000300000080n
const CMR_SIZE = 0x9000000300000100n

/** What SYS.RD answers on a platform, by field. */
export class GlobalMetadata {
  readonly #values: ReadonlyMap<bigint, bigint>
  readonly #ids: readonly bigint[]

  constructor(platform: Platform) {
    const fields = [...FIXED, ...cmrFields(platform)]
    this.#values = new Map(fields.map(([id, value]) => [keyOf(id), value]))
    this.#ids = fields.map(([id]) => id).sort((a, b) => (a < b ? -1 : 1))
  }

  read(id: bigint): bigint | undefined {
    return this.#values.get(keyOf(id))
  }

  get firstId(): bigint {
    return this.#ids[0]!
  }

  /** The id after this one, or all ones at the end. */
  nextId(id: bigint): bigint {
    const at = this.#ids.findIndex(known => keyOf(known) === keyOf(id))
    return this.#ids[at + 1] ?? NO_FIELD
  }
}

/** All ones: "the first field" as input, "none" as output. */
export const NO_FIELD = (1n << 64n) - 1n

const cmrFields = ({ cmrs }: Platform): [bigint, bigint][] =>
  Array.from({ length: MAX_CMRS }, (_, i) => {
    const cmr = cmrs[i] ?? { start: 0, end: 0 }
    const fields: [bigint, bigint][] = [
      [CMR_BASE + BigInt(i), BigInt(cmr.start)],
      [CMR_SIZE + BigInt(i), BigInt(cmr.end - cmr.start)],
    ]
    return fields
  }).flat()
