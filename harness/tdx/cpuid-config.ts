import type { ModuleProfile } from './profile.ts'

/** A CPUID leaf whose values a TD may have configured. */
export interface CpuidConfig {
  /** Leaf in 31:0, subleaf in 63:32; all ones: it has none. */
  readonly leaf: bigint
  /** EAX and EBX, ECX and EDX: the bits that may be configured. */
  readonly values: readonly [bigint, bigint]
}

const NO_SUBLEAF = 0xffffffffn

const row = (
  leaf: bigint,
  subleaf: bigint,
  values: readonly [bigint, bigint] = [0n, 0n],
): CpuidConfig => ({ leaf: leaf | (subleaf << 32n), values })

const CACHE = [0xfffff000ffffc3ffn, 0xfffffffbffffffffn] as const

/** cpuid_configurable[] of 1.5.01 (include/auto_gen/cpuid_configurations.c). */
const KNOWN: readonly CpuidConfig[] = [
  row(0x1n, NO_SUBLEAF, [0x00ff00000fff3fffn, 0n]),
  row(0x4n, 0n, CACHE),
  row(0x4n, 1n, CACHE),
  row(0x4n, 2n, CACHE),
  row(0x4n, 3n, [0xfffff000ffffc3ffn, 0x00000007ffffffffn]),
  row(0x7n, 0n),
  row(0x7n, 1n),
  row(0xan, NO_SUBLEAF),
  row(0x1cn, NO_SUBLEAF),
  row(0x80000008n, NO_SUBLEAF),
  row(0x7n, 2n),
  row(0x23n, 0n),
]

/** A leaf that cannot be configured, as a module fills its array with them. */
const NONE: CpuidConfig = { leaf: (1n << 64n) - 1n, values: [0n, 0n] }

/**
 * Which leaves later modules add is not modelled: what they have more of are
 * further subleaves of leaf 4, all of whose bits are fixed.
 */
export const cpuidConfig = (
  { cpuidConfigs }: Pick<ModuleProfile, 'cpuidConfigs'>,
  index: number,
): CpuidConfig => {
  if (index >= cpuidConfigs) return NONE
  return KNOWN[index] ?? row(0x4n, BigInt(index))
}
