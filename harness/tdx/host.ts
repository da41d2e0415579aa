import { MEMORY_RULES, type MemoryRules } from '../memory/rules.ts'
import type { LeafName } from './leaves.ts'

/** Series of kernels that drive the TDX module in different ways. */
export const LINEAGES = ['v6', 'upstream'] as const
export type Lineage = (typeof LINEAGES)[number]

/** errno values of the kernel (include/uapi/asm-generic/errno-base.h). */
export const ERRNO = {
  EPERM: -1,
  EIO: -5,
  EFAULT: -14,
  ENODEV: -19,
  EINVAL: -22,
  ENOSPC: -28,
} as const

/** What a host kernel of a lineage does. */
export interface HostKernel {
  /** Rules of memory set-up of the kernels that ship. */
  readonly memoryRules: MemoryRules
  /** When the list of TDX memory regions is built. */
  readonly listBuilt: 'at boot' | 'at initialisation'
  /** Leaves the initialisation calls. */
  readonly leaves: ReadonlySet<LeafName>
  /** x2APIC or no TDX. */
  readonly needsX2apic: boolean
  /** It calls again when the module is short of entropy. */
  readonly retriesEntropy: boolean
  /** It prints a line for a SEAMCALL that failed. */
  readonly reportsSeamcalls: boolean
  /** Its memory notifier refuses memory that is not in the list. */
  readonly refusesHotAddedMemory: boolean
  /** It checks itself that each region lies in one CMR; touching ones are two. */
  readonly checksCmrs: boolean
  /** It refuses to begin while a CPU is offline. */
  readonly needsAllCpus: boolean
  /** What tdx_enable() makes of an errno inside; absent: it stays. */
  readonly maskedErrno?: number
}

const COMMON_LEAVES = [
  'SYS_INIT',
  'SYS_LP_INIT',
  'SYS_CONFIG',
  'SYS_KEY_CONFIG',
  'SYS_TDMR_INIT',
] as const

/**
 * v6: the series of October 2022, which our patches bring to 6.1
 * (kernel-configs/v6-6.1). upstream: Linux 6.8 to 6.15
 * (arch/x86/virt/vmx/tdx/tdx.c).
 */
export const HOST_KERNELS: Readonly<Record<Lineage, HostKernel>> = {
  v6: {
    memoryRules: MEMORY_RULES['6.1'],
    listBuilt: 'at boot',
    leaves: new Set([...COMMON_LEAVES, 'SYS_INFO', 'SYS_LP_SHUTDOWN']),
    needsX2apic: true,
    retriesEntropy: false,
    reportsSeamcalls: false,
    refusesHotAddedMemory: false,
    checksCmrs: true,
    needsAllCpus: true,
    maskedErrno: ERRNO.EFAULT,
  },
  upstream: {
    memoryRules: MEMORY_RULES['6.12'],
    listBuilt: 'at initialisation',
    leaves: new Set([...COMMON_LEAVES, 'SYS_RD']),
    needsX2apic: false,
    retriesEntropy: true,
    reportsSeamcalls: true,
    refusesHotAddedMemory: true,
    checksCmrs: false,
    needsAllCpus: false,
  },
}
