import { MEMORY_RULES } from '../../memory/rules.ts'
import { ERRNO } from '../errno.ts'
import type { Series } from './series.ts'

/**
 * v6 of the patch series, October 2022, which our patches bring to 6.1
 * (kernel-configs/v6-6.1).
 */
export const V6 = {
  name: 'v6',
  title: 'the v6 series',
  summary: 'v6: the list is built at boot',
  versions: { first: 0, end: 6_008 },
  marks: {
    // Two blanks; and a list at boot that can fail.
    imageTexts: [
      'Failed to initialize TDX module.  Shut it down.',
      'Build TDX-usable memory regions failed. Disable TDX.',
    ],
    logPrefix: 'tdx: ',
  },
  trigger: 'tdx_enable',
  shippedKernel: { name: 'v6-6.1', failsRegions: true },
  memoryRules: MEMORY_RULES['6.1'],
  otherRules: undefined,
  listBuilt: 'at boot',
  leavesBeforeList: new Set(['SYS_INIT', 'SYS_LP_INIT', 'SYS_LP_SHUTDOWN']),
  leaves: new Set([
    'SYS_INIT',
    'SYS_LP_INIT',
    'SYS_INFO',
    'SYS_CONFIG',
    'SYS_KEY_CONFIG',
    'SYS_TDMR_INIT',
    'SYS_LP_SHUTDOWN',
  ]),
  excludesHibernation: false,
  metadata: [],
  maxCpuidConfigs: undefined,
  neededFeatures: 0n,
  withoutKeyids: { outcome: 'absent', stage: null },
  needsVmx: false,
  updatesModule: false,
  disablesModule: false,
  silentStages: [],
  needsX2apic: true,
  // try_enable()
  enodevIsNoModule: true,
  // seamcall(): the firmware is confused, and it warns.
  exceptionErrno: { gp: ERRNO.ENODEV, ud: ERRNO.EINVAL },
  retriesEntropy: false,
  explainsMachineChecks: false,
  resetsPamts: 'never',
  reportsSeamcalls: false,
  checkedCmrName: 'Kernel-checked-CMR',
  printsCmrs: true,
  refusesHotAddedMemory: false,
  checksCmrs: true,
  needsAllCpus: true,
  errnoAfterFailure: undefined,
  maskedErrno: ERRNO.EFAULT,
  knownDefects: [
    'memory without a node',
    'CPUs on nodes that are not the fake ones',
  ],
} as const satisfies Series
