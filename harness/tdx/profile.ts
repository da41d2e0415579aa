import { LEAF } from './leaves.ts'

/** Versions of the TDX module the model can play. */
export const PROFILE_NAMES = ['1.0', '1.5.01', '1.5.05', '1.5.34'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

/** One that the kernels of today accept. */
export const DEFAULT_PROFILE: ProfileName = '1.5.05'

/** How the versions of the module differ for a host kernel. */
export interface ModuleProfile {
  readonly majorVersion: number
  readonly minorVersion: number
  readonly updateVersion: number
  /** Decimal yyyymmdd, as the module reports it. */
  readonly buildDate: number
  readonly buildNumber: number
  /** TDX_FEATURES0; undefined: it has no metadata to read. */
  readonly features: bigint | undefined
  readonly attributesFixed0: bigint
  /** Number of CPUID leaves that a TD may configure. */
  readonly cpuidConfigs: number
  /** Undefined: it has no such field. */
  readonly maxVcpusPerTd: bigint | undefined
  /** Size of the TDVPS; undefined: it is not known. */
  readonly tdvpsSize: bigint
  /** Versions of the handoff data it writes, and takes. */
  readonly handoff: {
    readonly version: number
    readonly oldest: number
    readonly noDowngrade: boolean
  }
  /** Leaves the module knows. */
  readonly leaves: ReadonlySet<number>
  /** Those it takes before SYS_READY (tdx_vmm_dispatcher.c). */
  readonly leavesBeforeReady: ReadonlySet<number>
  /** TDH.SYS.LP.SHUTDOWN ends the module; later it does nothing. */
  readonly shutsDownByLp: boolean
}

const COMMON = [
  LEAF.SYS_KEY_CONFIG,
  LEAF.SYS_INFO,
  LEAF.SYS_INIT,
  LEAF.SYS_LP_INIT,
  LEAF.SYS_LP_SHUTDOWN,
  LEAF.SYS_CONFIG,
]
/** Of 1.5: the metadata leaves, and the update without a reboot. */
const SINCE_1_5 = [LEAF.SYS_RD, LEAF.SYS_RDALL, LEAF.SYS_UPDATE]
const WHEN_READY = [LEAF.SYS_TDMR_INIT, LEAF.PHYMEM_PAGE_RDMD]

/**
 * Build dates and numbers of 1.5 are those of builds that are in the field; a
 * module that is compiled from source has its own.
 */
const MODULE_1_5 = {
  majorVersion: 1,
  minorVersion: 5,
  buildDate: 20240129,
  buildNumber: 698,
  tdvpsSize: 24576n,
  leaves: new Set([...COMMON, ...SINCE_1_5, ...WHEN_READY, LEAF.SYS_SHUTDOWN]),
  leavesBeforeReady: new Set([...COMMON, ...SINCE_1_5]),
  shutsDownByLp: false,
}

/**
 * Source: tdx_vmm_dispatcher.c, tdh_sys_lp_shutdown.c, metadata_sys.c and
 * td_control_structures.h of 1.0.3, 1.5.01, 1.5.05 and 1.5.34.
 */
export const PROFILES: Readonly<Record<ProfileName, ModuleProfile>> = {
  '1.0': {
    majorVersion: 1,
    minorVersion: 0,
    updateVersion: 3,
    buildDate: 20211209,
    buildNumber: 160,
    features: undefined,
    attributesFixed0: 0x8000_0000_7000_0001n,
    cpuidConfigs: 12,
    maxVcpusPerTd: undefined,
    tdvpsSize: 24576n,
    handoff: { version: 0, oldest: 0, noDowngrade: false },
    leaves: new Set([...COMMON, ...WHEN_READY]),
    leavesBeforeReady: new Set(COMMON),
    shutsDownByLp: true,
  },
  '1.5.01': {
    ...MODULE_1_5,
    updateVersion: 1,
    features: 0xf0fbfn,
    attributesFixed0: 0x8000_0000_7000_0001n,
    cpuidConfigs: 12,
    maxVcpusPerTd: undefined,
    handoff: { version: 0, oldest: 0, noDowngrade: false },
  },
  '1.5.05': {
    ...MODULE_1_5,
    updateVersion: 5,
    features: 0x61f0fbfn,
    attributesFixed0: 0x8000_0000_7800_0001n,
    cpuidConfigs: 18,
    maxVcpusPerTd: 576n,
    handoff: { version: 0, oldest: 0, noDowngrade: false },
  },
  '1.5.34': {
    ...MODULE_1_5,
    updateVersion: 34,
    features: 0x5a_d932_6f3f_0fbfn,
    attributesFixed0: 0x8000_0000_7801_0001n,
    cpuidConfigs: 28,
    maxVcpusPerTd: 576n,
    // What versions it takes is not published; with an older module before it
    // an update must be possible.
    handoff: { version: 2, oldest: 0, noDowngrade: false },
  },
}
