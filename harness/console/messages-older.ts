import type { Row } from './message.ts'

/** From v3 to the v8/v9 series, and kernels of distributions of that time. */

const BUILD = ['build-date', 'build-number'] as const

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
  {
    format: 'TDX module is not loaded.',
    outcome: 'failed',
    stage: 'sys-init',
  },
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
  {
    format:
      'additional output: rcx 0x%llx, rdx 0x%llx, r8 0x%llx, r9 0x%llx, r10 0x%llx, r11 0x%llx.',
    arguments: ['rcx', 'rdx', 'r8', 'r9', 'r10', 'r11'],
  },
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

/** arch/x86/coco/tdx/tdx.c, which has the same prefix and runs in a TD. */
const GUEST: readonly Row[] = [{ format: 'Guest detected', guest: true }]

export const OLDER_MESSAGES: readonly Row[] = [
  ...[V3_TO_V5, V6, V7, V8, UBUNTU_6_5, GUEST].flat(),
]
