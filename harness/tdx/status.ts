/**
 * Completion status codes: the upper 32 bits, the lower ones hold the operand
 * or details (include/auto_gen/tdx_error_codes_defs.h; the same in 1.0 and 1.5).
 */
export const STATUS = {
  SUCCESS: 0x00000000,
  NON_RECOVERABLE_VCPU: 0x40000001,
  NON_RECOVERABLE_TD: 0x60000002,
  INTERRUPTED_RESUMABLE: 0x80000003,
  INTERRUPTED_RESTARTABLE: 0x80000004,
  OPERAND_INVALID: 0xc0000100,
  OPERAND_ADDR_RANGE_ERROR: 0xc0000101,
  OPERAND_BUSY: 0x80000200,
  SYS_BUSY: 0x80000202,
  RND_NO_ENTROPY: 0x80000203,
  PAGE_METADATA_INCORRECT: 0xc0000300,
  SYS_INIT_NOT_PENDING: 0xc0000500,
  SYS_LP_INIT_NOT_DONE: 0xc0000502,
  SYS_LP_INIT_DONE: 0xc0000503,
  SYS_NOT_READY: 0xc0000505,
  SYS_SHUTDOWN: 0xc0000506,
  SYS_KEY_CONFIG_NOT_PENDING: 0xc0000507,
  SYS_STATE_INCORRECT: 0xc0000508,
  SYS_INVALID_HANDOFF: 0xc0000509,
  SYS_INCOMPATIBLE_SIGSTRUCT: 0xc000050a,
  SYS_LP_INIT_NOT_PENDING: 0xc000050b,
  SYS_CONFIG_NOT_PENDING: 0xc000050c,
  INCOMPATIBLE_SEAM_CAPABILITIES: 0xc000050d,
  KEY_GENERATION_FAILED: 0x80000800,
  KEY_CONFIGURED: 0x00000815,
  NUM_ACTIVATED_HKIDS_NOT_SUPPORTED: 0xc0000825,
  INCORRECT_CPUID_VALUE: 0xc0000900,
  LIMIT_CPUID_MAXVAL_SET: 0xc0000901,
  INCONSISTENT_CPUID_FIELD: 0xc0000902,
  CPUID_MAX_SUBLEAVES_UNRECOGNIZED: 0xc0000903,
  CPUID_LEAF_1F_FORMAT_UNRECOGNIZED: 0xc0000904,
  INVALID_WBINVD_SCOPE: 0xc0000905,
  INVALID_PKG_ID: 0xc0000906,
  ENABLE_MONITOR_FSM_NOT_SET: 0xc0000907,
  CPUID_LEAF_NOT_SUPPORTED: 0xc0000908,
  SMRR_NOT_LOCKED: 0xc0000910,
  INVALID_SMRR_CONFIGURATION: 0xc0000911,
  SMRR_OVERLAPS_CMR: 0xc0000912,
  SMRR_LOCK_NOT_SUPPORTED: 0xc0000913,
  SMRR_NOT_SUPPORTED: 0xc0000914,
  INCONSISTENT_MSR: 0xc0000920,
  INCORRECT_MSR_VALUE: 0xc0000921,
  INVALID_TDMR: 0xc0000a00,
  NON_ORDERED_TDMR: 0xc0000a01,
  TDMR_OUTSIDE_CMRS: 0xc0000a02,
  TDMR_ALREADY_INITIALIZED: 0x00000a03,
  INVALID_PAMT: 0xc0000a10,
  PAMT_OUTSIDE_CMRS: 0xc0000a11,
  PAMT_OVERLAP: 0xc0000a12,
  INVALID_RESERVED_IN_TDMR: 0xc0000a20,
  NON_ORDERED_RESERVED_IN_TDMR: 0xc0000a21,
  CMR_LIST_INVALID: 0xc0000a22,
  METADATA_FIELD_ID_INCORRECT: 0xc0000c00,
  METADATA_FIELD_NOT_READABLE: 0xc0000c02,
  METADATA_LIST_OVERFLOW: 0xc0000c04,
  METADATA_FIRST_FIELD_ID_IN_CONTEXT: 0x00000c0b,
} as const

export type StatusName = keyof typeof STATUS

/** Operand ids in the low byte of a status (include/tdx_api_defs.h). */
export const OPERAND = {
  RAX: 0,
  RCX: 1,
  RDX: 2,
  R8: 8,
  R9: 9,
  TDMR_INFO_PA: 96,
  SYS: 184,
  TDMR: 185,
  KET: 187,
} as const

/** A whole 64-bit status. `details` are the low 32 bits. */
export const status = (name: StatusName, details = 0): bigint =>
  (BigInt(STATUS[name]) << 32n) | BigInt(details >>> 0)

/** api_error_with_multiple_info(): up to four bytes of detail. */
export const statusWithBytes = (
  name: StatusName,
  ...bytes: readonly number[]
): bigint =>
  status(
    name,
    bytes.reduce((sum, byte, i) => sum + ((byte & 0xff) << (8 * i)), 0),
  )

/**
 * Codes the kernel makes up itself (arch/x86/include/asm/shared/tdx.h and
 * asm/tdx.h): class 0xff is never used by the module.
 */
export const SOFTWARE_STATUS = {
  VMFAILINVALID: 0x8000ff00ffff0000n,
  SEAMCALL_GP: 0x8000ff000000000dn,
  SEAMCALL_UD: 0x8000ff0000000006n,
} as const

const SOFTWARE: ReadonlyMap<bigint, string> = new Map(
  Object.entries(SOFTWARE_STATUS).map(([name, value]) => [value, name]),
)

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(STATUS).map(([name, code]) => [code, name]),
)

/** Completion statuses of the P-SEAMLDR: whole 64-bit values. */
export const SEAMLDR_STATUS = {
  EBADPARAM: 0x8000000000000000n,
  EBADCALL: 0x8000000000000003n,
  EBADHANDOFF: 0x8000000000000004n,
  ENOMEM: 0x8000000000010002n,
  EUNSPECERR: 0x8000000000010003n,
  EUNSUPCPU: 0x8000000000010004n,
  EBADSIG: 0x8000000000020000n,
  EBADHASH: 0x8000000000020001n,
  EINTERRUPT: 0x8000000000030000n,
  ENOENTROPY: 0x8000000000030001n,
} as const

const SEAMLDR_NAMES: ReadonlyMap<bigint, string> = new Map(
  Object.entries(SEAMLDR_STATUS).map(([name, value]) => [
    value,
    `SEAMLDR_${name}`,
  ]),
)

/** The name of a status, without its details; undefined when unknown. */
export const statusName = (value: bigint): string | undefined =>
  SOFTWARE.get(value) ??
  NAMES.get(Number(value >> 32n)) ??
  SEAMLDR_NAMES.get(value)
