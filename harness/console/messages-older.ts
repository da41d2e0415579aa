import { REGISTERS, type Row } from './message.ts'

/** From v3 to the v8/v9 series, and kernels of distributions of that time. */

const BUILD = ['build-date', 'build-number'] as const

const NOT_ENABLED = { outcome: 'not-enabled', stage: 'detect' } as const

/** Nothing answers SEAMCALLs. */
const NO_MODULE = { outcome: 'failed', stage: 'sys-init' } as const

const OUTPUT =
  'additional output: rcx 0x%llx, rdx 0x%llx, r8 0x%llx, r9 0x%llx, r10 0x%llx, r11 0x%llx.'

/** v3: every CPU was looked at, and the loader of the module was asked. */
const V3: readonly Row[] = [
  { format: 'SEAMRR base is not configured by BIOS', ...NOT_ENABLED },
  { format: 'SEAMRR is not enabled by BIOS', ...NOT_ENABLED },
  { format: 'Inconsistent SEAMRR configuration by BIOS', ...NOT_ENABLED },
  {
    format: 'Inconsistent TDX KeyID configuration among packages by BIOS',
    ...NOT_ENABLED,
  },
  { format: 'SEAMRR not enabled.', ...NOT_ENABLED },
  {
    // As with one KeyID in later series: the platform has TDX, and one is
    // not enough.
    format: 'Number of TDX private KeyIDs too small: %u.',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['none'],
  },
  { format: 'P-SEAMLDR is not loaded.', ...NO_MODULE },
  { format: 'Failed to detect P-SEAMLDR.', ...NO_MODULE },
  {
    // The version of the loader, which is not that of the module.
    format:
      'P-SEAMLDR: version 0x%x, vendor_id: 0x%x, build_date: %u, build_num %u, major %u, minor %u',
    arguments: ['none', 'none', 'none', 'none', 'none', 'none'],
  },
  { format: 'TDX module detected.', outcome: 'unfinished', stage: 'detect' },
  {
    format: 'SEAMCALL leaf %llu failed: 0x%llx',
    outcome: 'failed',
    arguments: ['leaf-decimal', 'status'],
  },
  {
    format: 'Firmware bug: invalid CMR(s) among valid CMRs.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  // The module is shut down then, too: the line does not say so yet.
  { format: 'Failed to initialize TDX module.', outcome: 'failed' },
]

/** v3 to v5: SEAMRR was looked at, and CMRs were checked by the kernel. */
const V3_TO_V5: readonly Row[] = [
  { format: 'SEAMRR enabled.' },
  {
    format: 'TDX private KeyID range: [%u, %u).',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  { format: 'TDX enabled by BIOS.', outcome: 'unfinished', stage: 'detect' },
  {
    format: 'Failed to initialize TDX module. Shut it down.',
    outcome: 'failed',
  },
  {
    format: 'SEAMCALL failed: leaf: 0x%llx, error: 0x%llx',
    outcome: 'failed',
    arguments: ['leaf', 'status'],
  },
  {
    // v4, of calls that return registers.
    format: `SEAMCALL failed: leaf: 0x%llx, error: 0x%llx, ${OUTPUT}`,
    outcome: 'failed',
    arguments: ['leaf', 'status', ...REGISTERS],
  },
  // v5, behind the line of the call.
  { format: `SEAMCALL ${OUTPUT}`, arguments: REGISTERS },
  {
    format: 'Unable to add memory [0x%llx, 0x%llx) on TDX enabled platform.',
    outcome: 'unfinished',
  },
  {
    format:
      'TDX module: vendor_id 0x%x, major_version %u, minor_version %u, build_date %u, build_num %u',
    arguments: ['none', 'major', 'minor', ...BUILD],
  },
]

/** The v6 series and our patches that bring it to 6.1. */
const V6: readonly Row[] = [
  {
    format: 'TDX enabled by BIOS. TDX private KeyID range: [%u, %u)',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  {
    format: "Disable TDX as there's only one TDX private KeyID available.",
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Disable TDX as X2APIC is not enabled.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Build TDX-usable memory regions failed. Disable TDX.',
    outcome: 'disabled',
    stage: 'regions',
  },
  {
    format: "Unable to initialize the TDX module when there's offline CPU(s).",
    outcome: 'failed',
    stage: 'checks',
  },
  { format: 'TDX module is not loaded.', ...NO_MODULE },
  {
    format: 'Failed to initialize TDX module.  Shut it down.',
    outcome: 'failed',
  },
  {
    format:
      'TDX module: atributes 0x%x, vendor_id 0x%x, major_version %u, minor_version %u, build_date %u, build_num %u',
    arguments: ['none', 'none', 'major', 'minor', ...BUILD],
  },
  {
    format: '%s : [0x%llx, 0x%llx)',
    arguments: ['cmr-name', 'cmr-start', 'cmr-end'],
  },
  {
    format: 'Firmware bug: CMRs not in address ascending order.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: 'Firmware bug: invalid CMR(s) before valid CMRs.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: 'Firmware bug: No valid CMR.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: '[0x%llx, 0x%llx) is not fully convertible memory',
    outcome: 'failed',
    stage: 'sys-info',
    arguments: ['failed-start', 'failed-end'],
  },
  {
    format: '%lu pages allocated for PAMT.',
    arguments: ['pamt-pages'],
  },
  {
    format: 'TDX module initialized.',
    outcome: 'initialized',
    stage: 'done',
  },
]

const V7: readonly Row[] = [
  {
    format: '[TDX broken ?]: Invalid CMRs detected',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: 'Memory region [0x%lx, 0x%lx) is not TDX convertible memorry.',
    outcome: 'failed',
    stage: 'sys-info',
    arguments: ['failed-start', 'failed-end'],
  },
]

/** v8 to v13; from then on KVM asks for the initialisation. */
const V8: readonly Row[] = [
  {
    format: 'initialization failed: too few private KeyIDs available (%d).',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['none'],
  },
  {
    format: 'initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    format: 'TDX module initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    format: 'initialization failed: TDX is disabled.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: '[firmware bug]: TDX is not enabled by BIOS.',
    outcome: 'not-enabled',
    stage: 'sys-init',
  },
  {
    format: 'CPU is not in VMX operation.',
    outcome: 'failed',
  },
  {
    format: 'SEAMCALL failed: CPU %d is not in VMX operation.',
    outcome: 'failed',
    arguments: ['none'],
  },
  {
    format: 'SEAMCALL failed: leaf %llu, error 0x%llx.',
    outcome: 'failed',
    arguments: ['leaf-decimal', 'status'],
  },
  { format: OUTPUT, arguments: REGISTERS },
]

/** Ubuntu's 6.5 with Intel's patches. */
const UBUNTU_6_5: readonly Row[] = [
  {
    format: 'not enabled by BIOS.',
    outcome: 'not-enabled',
    stage: 'sys-init',
  },
  {
    format: 'SEAMCALL failed: CPU %d: leaf %llu, error 0x%llx.',
    outcome: 'failed',
    arguments: ['none', 'leaf-decimal', 'status'],
  },
  { format: '%lu KBs allocated for PAMT.', arguments: ['pamt-kib'] },
  {
    format: 'module initialized.',
    outcome: 'initialized',
    stage: 'done',
  },
]

/** KVM of Intel's 5.19 and of what was posted then (tdx_hardware_setup()). */
const KVM_5_19: readonly Row[] = [
  { format: 'Cannot enable TDX on TDX disabled platform', ...NOT_ENABLED },
  { format: 'Cannot enable TDX on TDX disabled platform.', ...NOT_ENABLED },
  { format: 'Cannot enable TDX with SEAMRR disabled', ...NOT_ENABLED },
  {
    format: 'Cannot enable TDX with EPT disabled',
    outcome: 'disabled',
    stage: 'checks',
  },
  { format: 'kvm: TDX is supported. hkid start pos %d mask 0x%llx' },
  { format: 'kvm: TDX is supported. x86 phys bits %d' },
]

/** arch/x86/coco/tdx/tdx.c, which has the same prefix and runs in a TD. */
const GUEST: readonly Row[] = [{ format: 'Guest detected', guest: true }]

export const OLDER_MESSAGES: readonly Row[] = [
  ...[V3, V3_TO_V5, V6, V7, V8, UBUNTU_6_5, KVM_5_19, GUEST].flat(),
]
