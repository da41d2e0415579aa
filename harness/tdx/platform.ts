import type { Range } from '../memory/range.ts'
import type { Fault } from './fault.ts'
import type { MetadataValues } from './metadata-values.ts'
import type { ProfileName } from './profile.ts'

/** What the firmware and the CPU have set up for TDX. */
export interface Platform {
  /** IA32_MKTME_KEYID_PARTITIONING (MSR 0x87): numbers of KeyIDs. */
  readonly keyids: { readonly mktme: number; readonly tdx: number }
  /** Reading that MSR raises #GP; default: it does not. */
  readonly keyidMsrFaults?: boolean
  /**
   * The CPUs have the erratum that a return from the P-SEAMLDR clears the
   * current VMCS (bit 60 of IA32_VMX_BASIC is clear); default: they do not.
   */
  readonly seamretClearsVmcs?: boolean
  /** The module that is loaded; null: every SEAMCALL ends in VMfailInvalid. */
  readonly module: ProfileName | null
  /** The CPUs have x2APIC, and the firmware or the kernel turned it on. */
  readonly x2apic: boolean
  /** The CPUs have VMX, and the firmware has not turned it off. */
  readonly vmx: boolean
  /** The logical processor on which VMXON faults; undefined: on none. */
  readonly vmxonFails: number | undefined
  /** Module updates the P-SEAMLDR still takes. */
  readonly updatesLeft: number
  /**
   * The module has TDH.SYS.DISABLE, which takes it back to where it was loaded;
   * default: it does not.
   */
  readonly disables?: boolean
  /** A kernel before has called TDH.SYS.INIT; default: none has. */
  readonly initialisedBefore?: boolean
  /** Convertible memory regions, ascending. */
  readonly cmrs: readonly Range[]
  /** Logical processors the firmware counted at boot. */
  readonly lps: number
  /** Package of each logical processor, by index. */
  readonly packageOf: readonly number[]
  /** Bits of an address below the KeyID, of 52. */
  readonly physicalBits: number
  readonly faults: readonly Fault[]
  /** Bytes of a TDMR that a call of TDH.SYS.TDMR.INIT does; undefined: all. */
  readonly tdmrInitBytes: number | undefined
  /** What the module says of itself instead of the usual. */
  readonly metadata: MetadataValues
}

/** MSR 0x87: 31:0 MKTME KeyIDs, 63:32 TDX private KeyIDs. */
export const keyidPartitioning = ({ keyids }: Platform): bigint =>
  (BigInt(keyids.tdx) << 32n) | BigInt(keyids.mktme)

/** How many private KeyIDs a kernel learns of. */
export const announcedKeyids = ({
  keyids,
  keyidMsrFaults,
}: Pick<Platform, 'keyids' | 'keyidMsrFaults'>): number =>
  keyidMsrFaults === true ? 0 : keyids.tdx

/** The private KeyIDs, half-open: they follow the last MKTME KeyID. */
export const privateKeyids = ({
  keyids,
}: Pick<Platform, 'keyids'>): [number, number] => [
  keyids.mktme + 1,
  keyids.mktme + 1 + keyids.tdx,
]

/** MAX_CMR and MAX_PKGS of the module (include/tdx_api_defs.h). */
export const MAX_CMRS = 32
export const MAX_PACKAGES = 8

/** KeyIDs are 11 bits wide for the module. */
export const MAX_KEYIDS = 2048

/**
 * The CMR table must be ascending, disjoint, 4 KiB-aligned and without KeyID
 * bits; empty entries are skipped wherever they are (check_cmrs(),
 * tdh_sys_init.c).
 */
export const validCmrs = ({
  cmrs,
  physicalBits,
}: Pick<Platform, 'cmrs' | 'physicalBits'>): boolean => {
  const used = cmrs.filter(({ start, end }) => start !== end)
  return (
    cmrs.length <= MAX_CMRS &&
    used.every(
      (cmr, i) =>
        cmr.start % 4096 === 0 &&
        cmr.end % 4096 === 0 &&
        cmr.start < cmr.end &&
        cmr.end <= 2 ** physicalBits &&
        cmr.start >= (used[i - 1]?.end ?? 0),
    )
  )
}

/** The packages that have logical processors. */
export const packagesOf = ({
  packageOf,
}: Pick<Platform, 'packageOf'>): number[] => [...new Set(packageOf)]
