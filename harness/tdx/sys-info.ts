import { LEAF } from './leaves.ts'
import { limitsOf } from './metadata-values.ts'
import { MAX_CMRS, type Platform } from './platform.ts'
import type { ModuleProfile } from './profile.ts'

/** CMR_INFO: {u64 base, u64 size}. */
const CMR_INFO_SIZE = 16
export const CMR_ARRAY_ALIGNMENT = 512
/** TDSYSINFO_STRUCT, 1024 bytes (include/tdx_api_defs.h, td_sys_info_t). */
const SYSINFO_SIZE = 1024

/** [offset, bytes, value] of the fields a host kernel may look at. */
const fieldsOf = (
  platform: Platform,
  profile: ModuleProfile,
): readonly (readonly [number, 1 | 2 | 4 | 8, bigint])[] => [
  ...limitFields(platform),
  [0, 4, 0n], // attributes: not a debug module
  [4, 4, 0x8086n], // vendor_id
  [8, 4, BigInt(profile.buildDate)],
  [12, 2, BigInt(profile.buildNumber)],
  [14, 2, BigInt(profile.minorVersion)],
  [16, 2, BigInt(profile.majorVersion)],
  [18, 1, profile.leaves.has(LEAF.SYS_RD) ? 1n : 0n], // sys_rd
  [48, 2, 24576n], // tdcs_base_size
  [52, 2, 24576n], // tdvps_base_size
  [64, 8, profile.attributesFixed0], // attributes_fixed0
  [80, 8, 0x6dbe7n], // xfam_fixed0
  [88, 8, 3n], // xfam_fixed1
  [128, 4, BigInt(profile.cpuidConfigs)], // num_cpuid_config
]

/** It has one size of PAMT entries: that of pages of 4K stands for all. */
const limitFields = (
  platform: Platform,
): readonly (readonly [number, 2, bigint])[] => {
  const { maxTdmrs, maxReservedPerTdmr, pamtEntrySizes } = limitsOf(platform)
  return [
    [32, 2, BigInt(maxTdmrs)],
    [34, 2, BigInt(maxReservedPerTdmr)],
    [36, 2, BigInt(pamtEntrySizes[0])],
  ]
}

/** What TDH.SYS.INFO writes: the structure and the CMR array. */
export const encodeSysInfo = (
  platform: Platform,
  profile: ModuleProfile,
): { struct: Uint8Array; cmrs: Uint8Array } => {
  const struct = new Uint8Array(SYSINFO_SIZE)
  for (const [offset, bytes, value] of fieldsOf(platform, profile)) {
    for (let i = 0; i < bytes; i++)
      struct[offset + i] = Number((value >> BigInt(8 * i)) & 0xffn)
  }
  const cmrs = new Uint8Array(MAX_CMRS * CMR_INFO_SIZE)
  const view = new DataView(cmrs.buffer)
  platform.cmrs.slice(0, MAX_CMRS).forEach(({ start, end }, i) => {
    view.setBigUint64(CMR_INFO_SIZE * i, BigInt(start), true)
    view.setBigUint64(CMR_INFO_SIZE * i + 8, BigInt(end - start), true)
  })
  return { struct, cmrs }
}
