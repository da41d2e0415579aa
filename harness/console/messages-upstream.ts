import type { Row } from './message.ts'

/** Of our patches, which print the region list in every series. */
export const REGION_MESSAGES: readonly Row[] = [
  {
    format: 'TDX memory region: [mem %#018llx-%#018llx] node %d',
    arguments: ['region-start', 'region-last', 'region-node'],
  },
  {
    format: 'TDX memory regions: %u',
    arguments: ['region-count'],
  },
]

/** Of the v14 series and kernels of distributions that took it. */
const V14: readonly Row[] = [
  {
    format: 'RCX 0x%llx RDX 0x%llx R8 0x%llx R9 0x%llx R10 0x%llx R11 0x%llx',
    arguments: ['rcx', 'rdx', 'r8', 'r9', 'r10', 'r11'],
  },
  {
    format: 'initialization failed: register_reboot_notifier() failed (%d)',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['errno'],
  },
  {
    // Mainline prints no CMRs.
    format: 'CMR: [0x%llx, 0x%llx)',
    arguments: ['cmr-start', 'cmr-end'],
  },
  {
    format:
      'TDX module: attributes 0x%x, vendor_id 0x%x, major_version %u, minor_version %u, build_date %u, build_num %u',
    arguments: ['none', 'none', 'major', 'minor', 'build-date', 'build-number'],
  },
  {
    format: '%lu KBs allocated for PAMT',
    arguments: ['pamt-kib'],
  },
  {
    format: 'Disable ACPI S3 suspend. Turn off TDX in the BIOS to use ACPI S3.',
  },
  { format: 'Disable Kexec. Turn off TDX in the BIOS to use KEXEC.' },
  {
    format: 'TDX module %u.%u.%u.%u, build number %u, build date %x',
    arguments: [
      'major',
      'minor',
      'update',
      'none',
      'build-number',
      'build-date-hex',
    ],
  },
]

/** Linux 6.8 to 6.19, arch/x86/virt/vmx/tdx/tdx.c. */
const MAINLINE: readonly Row[] = [
  {
    format: 'BIOS enabled: private KeyID range [%u, %u)',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  {
    format: 'initialization failed: too few private KeyIDs available.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'initialization failed: Hibernation support is enabled',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'initialization failed: register_memory_notifier() failed (%d)',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['errno'],
  },
  { format: 'Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.' },
  {
    format: 'module not loaded',
    outcome: 'failed',
    stage: 'sys-init',
  },
  {
    format: 'SEAMCALL (0x%016llx) failed: 0x%016llx',
    outcome: 'failed',
    arguments: ['leaf', 'status'],
  },
  {
    format: 'RCX 0x%016llx RDX 0x%016llx R08 0x%016llx',
    arguments: ['rcx', 'rdx', 'r8'],
  },
  {
    format: 'R09 0x%016llx R10 0x%016llx R11 0x%016llx',
    arguments: ['r9', 'r10', 'r11'],
  },
  {
    format: 'initialization failed: TDMRs exhausted.',
    outcome: 'failed',
    stage: 'tdmrs',
  },
  { format: 'consumed TDMRs reaching limit: %d used out of %d' },
  {
    format:
      'TDMR [0x%llx, 0x%llx): unable to find local NUMA node for PAMT allocation, fallback to use node 0.',
  },
  {
    format:
      'initialization failed: TDMR [0x%llx, 0x%llx): reserved areas exhausted.',
    outcome: 'failed',
    stage: 'reserved-areas',
    arguments: ['failed-start', 'failed-end'],
  },
  { format: '%lu KB allocated for PAMT', arguments: ['pamt-kib'] },
  {
    format: 'module initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    format: 'module initialized',
    outcome: 'initialized',
    stage: 'done',
  },
  {
    // 6.16 and later.
    format: 'frame pointer (RBP) clobber bug present, upgrade TDX module',
    outcome: 'failed',
    stage: 'sys-info',
  },
]

/** Linux 7.x. */
const SINCE_7: readonly Row[] = [
  {
    format: 'TDX not supported by the host platform',
    outcome: 'not-enabled',
    stage: 'detect',
  },
  {
    format: 'XSAVE is required for TDX',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'MOVDIR64B is required for TDX',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Self-snoop is required for TDX',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Module version: %u.%u.%02u',
    arguments: ['major', 'minor', 'update'],
  },
  {
    // As it was proposed, and is in some kernels.
    format: 'TDX module version: %u.%u.%u',
    arguments: ['major', 'minor', 'update'],
  },
  {
    // As it was posted, too.
    format: 'TDX-Module version: %u.%u.%02u',
    arguments: ['major', 'minor', 'update'],
  },
  {
    format: 'TDX-Module initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    format: 'TDX-Module initialized',
    outcome: 'initialized',
    stage: 'done',
  },
  { format: 'TDH.SYS.DISABLE failed: 0x%016llx', arguments: ['none'] },
  {
    format:
      'TDX requires all packages to have an online CPU. Delete all TDs in order to offline all CPUs of a package.',
  },
  { format: 'Enable Dynamic PAMT' },
]

/** Kernels that say `virt/tdx: `, from the v14 series on. */
export const UPSTREAM_MESSAGES: readonly Row[] = [
  ...MAINLINE,
  ...SINCE_7,
  ...V14,
]
