import { LEAF } from './leaves.ts'

/** Versions of the TDX module the model can play. */
export const PROFILE_NAMES = ['1.0', '1.5'] as const
export type ProfileName = (typeof PROFILE_NAMES)[number]

/** How the versions of the module differ for a host kernel. */
export interface ModuleProfile {
  readonly majorVersion: number
  readonly minorVersion: number
  /** Decimal yyyymmdd, as the module reports it. */
  readonly buildDate: number
  readonly buildNumber: number
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
 * 1.0.3 and 1.5.01, with dates and numbers of builds that are in the field.
 * Source: tdx_vmm_dispatcher.c, tdh_sys_lp_shutdown.c of both.
 */
export const PROFILES: Readonly<Record<ProfileName, ModuleProfile>> = {
  '1.0': {
    majorVersion: 1,
    minorVersion: 0,
    buildDate: 20211209,
    buildNumber: 160,
    leaves: new Set([...COMMON, ...WHEN_READY]),
    leavesBeforeReady: new Set(COMMON),
    shutsDownByLp: true,
  },
  '1.5': {
    majorVersion: 1,
    minorVersion: 5,
    buildDate: 20240129,
    buildNumber: 698,
    leaves: new Set([
      ...COMMON,
      ...SINCE_1_5,
      ...WHEN_READY,
      LEAF.SYS_SHUTDOWN,
    ]),
    leavesBeforeReady: new Set([...COMMON, ...SINCE_1_5]),
    shutsDownByLp: false,
  },
}
