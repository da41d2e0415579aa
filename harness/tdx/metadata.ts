import { cpuidConfig } from './cpuid-config.ts'
import { MAX_CMRS, type Platform, packagesOf } from './platform.ts'
import { METADATA, metadataValue } from './metadata-values.ts'
import type { ModuleProfile } from './profile.ts'

/** State of the module that some fields show. */
export interface HandoffState {
  readonly valid: boolean
  readonly version: number
}

/** What the value of a field depends on. */
interface Sources {
  readonly platform: Platform
  readonly profile: ModuleProfile
  readonly handoff: HandoffState
}

/** A field, or an array of fields with consecutive ids. */
interface FieldRow {
  readonly id: bigint
  /** Number of ids, one for each element; default: 1. */
  readonly count?: number
  /** Elements of one field; default: 1. */
  readonly elements?: number
  /** Undefined: the module has no such field. */
  readonly value: (sources: Sources, index: number) => bigint | undefined
}

const always = (value: bigint | number) => (): bigint => BigInt(value)

/** Stand in every module, whatever it can configure. */
export const MAX_CPUID_CONFIGS = 32

/** TDX_FEATURES0: the module has TDH.SYS.DISABLE. */
const SYS_DISABLE = 1n << 53n

/**
 * Global metadata in the order of the module's table, which is that in which
 * TDH.SYS.RD goes from field to field (include/auto_gen/
 * global_sys_fields_lookup.c and metadata_sys.c of 1.5.01). Fields about the
 * partitioning of TDs read as 0: no host kernel looks at them.
 */
const FIELDS: readonly FieldRow[] = [
  {
    id: 0x0000000200000000n,
    value: ({ platform }) => BigInt(packagesOf(platform).length),
  },
  { id: 0x0000000200000001n, count: 8, value: always(0) },
  { id: 0x0800000200000000n, value: always(0x8086) },
  {
    id: 0x8800000200000001n,
    value: ({ profile }) => BigInt(profile.buildDate),
  },
  {
    id: 0x8800000100000002n,
    value: ({ profile }) => BigInt(profile.buildNumber),
  },
  {
    id: 0x0800000100000003n,
    value: ({ profile }) => BigInt(profile.minorVersion),
  },
  {
    id: 0x0800000100000004n,
    value: ({ profile }) => BigInt(profile.majorVersion),
  },
  {
    id: 0x0800000100000005n,
    value: ({ profile }) => BigInt(profile.updateVersion),
  },
  { id: 0x0800000100000006n, value: always(0) },
  {
    id: 0x8900000100000000n,
    value: ({ profile }) => BigInt(profile.handoff.version),
  },
  {
    id: 0x8900000100000001n,
    value: ({ profile }) => BigInt(profile.handoff.oldest),
  },
  {
    id: 0x8900000000000002n,
    value: ({ profile }) => BigInt(profile.handoff.noDowngrade),
  },
  { id: 0x8900000100000003n, value: always(0) },
  { id: 0x8900000000000004n, value: ({ handoff }) => BigInt(handoff.valid) },
  { id: 0x8900000100000005n, value: ({ handoff }) => BigInt(handoff.version) },
  { id: 0x8900000200000006n, value: always(0) },
  { id: 0x0a00000200000000n, value: always(0) },
  { id: 0x0a00000000000001n, value: always(1) },
  {
    id: 0x0a00000300000008n,
    value: ({ profile: { features }, platform }) =>
      features === undefined || platform.disables !== true
        ? features
        : features | SYS_DISABLE,
  },
  // Always the size of the table, whatever the number of real CMRs.
  { id: 0x9000000100000000n, value: always(MAX_CMRS) },
  {
    id: 0x9000000300000080n,
    count: MAX_CMRS,
    value: ({ platform }, i) => BigInt(platform.cmrs[i]?.start ?? 0),
  },
  {
    id: 0x9000000300000100n,
    count: MAX_CMRS,
    value: ({ platform: { cmrs } }, i) =>
      BigInt((cmrs[i]?.end ?? 0) - (cmrs[i]?.start ?? 0)),
  },
  ...(
    [
      'MAX_TDMRS',
      'MAX_RESERVED_PER_TDMR',
      'PAMT_4K_ENTRY_SIZE',
      'PAMT_2M_ENTRY_SIZE',
      'PAMT_1G_ENTRY_SIZE',
    ] as const
  ).map(name => ({
    id: METADATA[name].id,
    value: always(METADATA[name].usual),
  })),
  { id: 0x9800000100000000n, value: always(4096) },
  { id: 0x9800000100000100n, value: always(24576) },
  { id: 0x9800000100000101n, value: always(0) },
  { id: 0x9800000100000200n, value: ({ profile }) => profile.tdvpsSize },
  { id: 0x9800000100000201n, value: always(0) },
  { id: 0x1900000300000000n, value: ({ profile }) => profile.attributesFixed0 },
  { id: 0x1900000300000001n, value: always(0) },
  { id: 0x1900000300000002n, value: always(0x6dbe7) },
  { id: 0x1900000300000003n, value: always(3) },
  {
    id: 0x9900000100000004n,
    value: ({ profile }) => BigInt(profile.cpuidConfigs),
  },
  // The module clears CONFIG_FLAGS.GPAW of FIXED1 on CPUs with few address bits.
  { id: 0x9900000300000006n, value: always(7) },
  { id: 0x9900000300000007n, value: always(0) },
  { id: 0x9900000100000008n, value: ({ profile }) => profile.maxVcpusPerTd },
  {
    id: 0x9900000300000400n,
    count: MAX_CPUID_CONFIGS,
    value: ({ profile }, i) => cpuidConfig(profile, i).leaf,
  },
  {
    id: 0x9900000300000500n,
    count: 2 * MAX_CPUID_CONFIGS,
    elements: 2,
    value: ({ profile }, i) =>
      cpuidConfig(profile, Math.floor(i / 2)).values[i % 2],
  },
  // Bits 4, 19, 20 and 24 of IA32_ARCH_CAPABILITIES.
  { id: 0x9900000300000600n, value: always(0x1180010) },
  { id: 0x9900000100000800n, value: always(0) },
  { id: 0x9900000100000801n, value: always(0) },
  { id: 0x9900000300000810n, count: 64, value: always(0) },
  { id: 0x9900000300000850n, count: 64, value: always(0) },
  { id: 0xa000000300000000n, value: always(0) },
  { id: 0x2000000100000001n, value: always(0) },
  { id: 0x2000000100000002n, value: always(0) },
  { id: 0x2000000100000003n, value: always(0) },
  { id: 0x2000000100000004n, value: always(0) },
  { id: 0xa000000100000010n, value: always(512) },
  { id: 0xa000000000000020n, value: always(0) },
  { id: 0xa000000000000021n, value: always(0) },
  { id: 0xa000000000000022n, value: always(0) },
  { id: 0xa100000100000000n, value: always(1) },
  { id: 0xa100000300000001n, value: always(0) },
  { id: 0xa100000300000002n, value: always(0) },
  { id: 0xa200000100000000n, value: always(0) },
  { id: 0xa200000300000001n, value: always(0) },
  { id: 0xa200000300000002n, value: always(0) },
  { id: 0xa200000300000003n, value: always(0) },
  { id: 0xa200000300000004n, value: always(0) },
  { id: 0xa200000300000005n, value: always(0) },
  { id: 0xa200000300000006n, value: always(0) },
]

/** All ones: "the first field" as input, "none" as output. */
export const NO_FIELD = (1n << 64n) - 1n

/** Bits 54:52: the context, which TDH.SYS.RD sets itself. */
const CONTEXT = 7n << 52n

/** Means the first field, whatever its context bits (is_null_field_id()). */
export const isNullField = (id: bigint): boolean => (id | CONTEXT) === NO_FIELD

/**
 * Bits that must be 0: reserved ones (31:24, 49:47, 55, 62), and the numbers of
 * the last element (37:34) and the last field (46:38). Sizes, masks and context
 * are ignored (md_check_as_single_element_id()).
 */
const MUST_BE_ZERO =
  (0xffn << 24n) |
  (0xfn << 34n) |
  (0x1ffn << 38n) |
  (7n << 47n) |
  (1n << 55n) |
  (1n << 62n)

/** Class in 61:56 and field code in 23:0, joined: what selects a field. */
const keyOf = (id: bigint): bigint =>
  (((id >> 56n) & 0x3fn) << 24n) | (id & 0xffffffn)

interface Element {
  readonly id: bigint
  readonly elements: number
  readonly value: (sources: Sources) => bigint | undefined
}

const ALL: readonly Element[] = FIELDS.flatMap(
  ({ id, count = 1, elements = 1, value }) =>
    Array.from({ length: count }, (_, i) => ({
      id: id + BigInt(i),
      elements,
      value: (sources: Sources) => value(sources, i),
    })),
)
const PLACES: ReadonlyMap<bigint, number> = new Map(
  ALL.map(({ id }, i) => [keyOf(id), i]),
)

/** A field, and what TDH.SYS.RD says of it. */
export interface MetadataEntry {
  readonly id: bigint
  readonly value: bigint
  /** The id of the field behind it. */
  readonly next: bigint
}

/** What SYS.RD answers on a platform, by field. */
export class GlobalMetadata {
  readonly #platform: Platform
  readonly #profile: ModuleProfile

  constructor(platform: Platform, profile: ModuleProfile) {
    this.#platform = platform
    this.#profile = profile
  }

  /** Undefined: the id is not that of one field. */
  read(id: bigint, handoff: HandoffState): bigint | undefined {
    if ((id & MUST_BE_ZERO) !== 0n) return undefined
    const at = PLACES.get(keyOf(id))
    return at === undefined ? undefined : this.#valueAt(at, handoff)
  }

  #valueAt(at: number, handoff: HandoffState): bigint | undefined {
    const { id, value } = ALL[at]!
    const given = metadataValue(this.#platform.metadata, id)
    if (given !== undefined)
      return given === 'missing' ? undefined : BigInt(given)
    return value({
      platform: this.#platform,
      profile: this.#profile,
      handoff,
    })
  }

  /** Every field that can be read. */
  table(handoff: HandoffState): MetadataEntry[] {
    return ALL.flatMap(({ id }, at) => {
      const value = this.#valueAt(at, handoff)
      return value === undefined
        ? []
        : [{ id, value, next: this.nextId(id, handoff) }]
    })
  }

  /** Elements of the field that an id is of. */
  elementsOf(id: bigint): number {
    return ALL[PLACES.get(keyOf(id)) ?? 0]!.elements
  }

  get firstId(): bigint {
    return ALL[0]!.id
  }

  /** The id after this one, or all ones at the end. */
  nextId(id: bigint, handoff: HandoffState): bigint {
    const at = PLACES.get(keyOf(id)) ?? ALL.length
    for (let next = at + 1; next < ALL.length; next++)
      if (this.#valueAt(next, handoff) !== undefined) return ALL[next]!.id
    return NO_FIELD
  }
}

const NOTHING: HandoffState = { valid: false, version: 0 }

/** A field that can be read of a module, whatever the platform. */
export const hasField = (profile: ModuleProfile, id: bigint): boolean =>
  profile.features !== undefined &&
  new GlobalMetadata(ANY_PLATFORM, profile).read(id, NOTHING) !== undefined

const ANY_PLATFORM: Platform = {
  keyids: { mktme: 0, tdx: 2 },
  module: null,
  x2apic: true,
  vmx: true,
  updatesLeft: 0,
  cmrs: [],
  lps: 1,
  packageOf: [0],
  physicalBits: 46,
  faults: [],
  vmxonFails: undefined,
  tdmrInitBytes: undefined,
  metadata: {},
}
