import { MEMORY_RULES } from '../../memory/rules.ts'
import { ERRNO } from '../errno.ts'
import type { Series } from './series.ts'

/**
 * Linux 6.8 to 6.15 (arch/x86/virt/vmx/tdx/tdx.c): functions for KVM, which
 * nobody in the tree calls. 6.16 and later read metadata that the module model
 * does not have.
 */
export const MAINLINE_6_8 = {
  name: 'mainline-6.8',
  title: 'Linux 6.8 to 6.15',
  summary:
    'mainline-6.8, Linux 6.8 to 6.15: the list is built at initialisation',
  versions: { first: 6_008, end: 6_016 },
  marks: {
    // Both in these words since 6.8; the series before printed fewer digits.
    imageTexts: [
      'BIOS enabled: private KeyID range',
      'SEAMCALL (0x%016llx) failed: 0x%016llx',
    ],
    logPrefix: 'virt/tdx: ',
  },
  trigger: 'tdx_cpu_enable, tdx_enable',
  shippedKernel: { name: 'upstream-6.12', failsRegions: false },
  memoryRules: MEMORY_RULES['6.12'],
  // 6.8 is the first that asks memblock whether nodes cover all memory.
  otherRules: {
    before: 6_012,
    note: 'some rules for nodes changed between Linux 6.8 and 6.12; those of 6.12 were used',
  },
  listBuilt: 'at initialisation',
  leavesBeforeList: new Set(['SYS_INIT', 'SYS_LP_INIT', 'SYS_LP_SHUTDOWN']),
  leaves: new Set([
    'SYS_INIT',
    'SYS_LP_INIT',
    'SYS_RD',
    'SYS_CONFIG',
    'SYS_KEY_CONFIG',
    'SYS_TDMR_INIT',
  ]),
  excludesHibernation: true,
  metadata: [
    0x9100000100000008n,
    0x9100000100000009n,
    0x9100000100000010n,
    0x9100000100000011n,
    0x9100000100000012n,
  ],
  maxCpuidConfigs: undefined,
  neededFeatures: 0n,
  withoutKeyids: { outcome: 'absent', stage: null },
  needsVmx: false,
  updatesModule: false,
  disablesModule: false,
  silentStages: [],
  needsX2apic: false,
  enodevIsNoModule: false,
  // sc_retry_prerr()
  exceptionErrno: { gp: ERRNO.EOPNOTSUPP, ud: ERRNO.EACCES },
  retriesEntropy: true,
  explainsMachineChecks: true,
  resetsPamts: 'always',
  reportsSeamcalls: true,
  checkedCmrName: undefined,
  printsCmrs: false,
  refusesHotAddedMemory: true,
  checksCmrs: false,
  needsAllCpus: false,
  // The default of tdx_enable()
  errnoAfterFailure: ERRNO.EINVAL,
  maskedErrno: undefined,
  knownDefects: [
    'memory without a node',
    'a real node without a fake one',
    'too many nodes, real and fake',
  ],
} as const satisfies Series
