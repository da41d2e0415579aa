import { MEMORY_RULES } from '../../memory/rules.ts'
import { MAINLINE_6_8 } from './mainline-6.8.ts'
import { ERRNO } from '../errno.ts'
import type { Series } from './series.ts'

/**
 * Linux 7.1 to 7.3 (arch/x86/virt/vmx/tdx/tdx.c, arch/x86/virt/hw.c): the core
 * kernel turns VMX on and initialises TDX in a subsys_initcall. All metadata is
 * read before the list is built.
 */
export const MAINLINE_7_1 = {
  name: 'mainline-7.1',
  title: 'Linux 7.1 to 7.3',
  summary: 'mainline-7.1, Linux 7.1 to 7.3: it initialises TDX as it boots',
  versions: { first: 7_001, end: 7_004 },
  marks: {
    imageTexts: [
      'BIOS enabled: private KeyID range',
      'TDX-Module initialization failed (%d)',
    ],
    logPrefix: 'virt/tdx: ',
  },
  trigger: 'at boot',
  shippedKernel: { name: 'mainline-7.3', failsRegions: false },
  memoryRules: MEMORY_RULES['7.1'],
  otherRules: undefined,
  listBuilt: 'at initialisation',
  leavesBeforeList: new Set([
    'SYS_INIT',
    'SYS_LP_INIT',
    'SYS_RD',
    'SYS_DISABLE',
    'SYS_SHUTDOWN',
  ]),
  leaves: MAINLINE_6_8.leaves,
  excludesHibernation: true,
  metadata: [
    0x0800000100000003n,
    0x0800000100000004n,
    0x0800000100000005n,
    0x0a00000300000008n,
    0x9100000100000008n,
    0x9100000100000009n,
    0x9100000100000010n,
    0x9100000100000011n,
    0x9100000100000012n,
    0x9800000100000000n,
    0x9800000100000100n,
    0x9800000100000200n,
    0x1900000300000000n,
    0x1900000300000001n,
    0x1900000300000002n,
    0x1900000300000003n,
    0x9900000100000004n,
    0x9900000100000008n,
  ],
  // struct tdx_sys_info_td_conf (asm/tdx_global_metadata.h).
  maxCpuidConfigs: 128,
  // check_features(): NO_RBP_MOD.
  neededFeatures: 1n << 18n,
  withoutKeyids: { outcome: 'not-enabled', stage: 'detect' },
  needsVmx: true,
  updatesModule: true,
  disablesModule: true,
  // cpuhp_setup_state() fails, and tdx_enable() returns without a word.
  silentStages: ['sys-init', 'lp-init'],
  needsX2apic: false,
  enodevIsNoModule: false,
  // sc_retry_prerr()
  exceptionErrno: { gp: ERRNO.EOPNOTSUPP, ud: ERRNO.EACCES },
  retriesEntropy: true,
  explainsMachineChecks: true,
  resetsPamts: 'with the erratum',
  reportsSeamcalls: true,
  checkedCmrName: undefined,
  printsCmrs: false,
  refusesHotAddedMemory: true,
  checksCmrs: false,
  needsAllCpus: false,
  errnoAfterFailure: undefined,
  maskedErrno: undefined,
  knownDefects: [
    'memory without a node',
    'a real node without a fake one',
    'too many nodes, real and fake',
    'CPUs of a package on several fake nodes',
  ],
} as const satisfies Series
