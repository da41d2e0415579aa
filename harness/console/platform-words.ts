import type { Complaint } from './facts.ts'

/** Words of tools, and what they mean. */

/** Lines of a report between a command and what it printed. */
export const MSR_NAMES: readonly {
  readonly pattern: RegExp
  readonly msr: number
  readonly high: number
  readonly low: number
}[] = [
  // system-report.sh of Canonical's tdx repository prints what rdmsr gives it.
  {
    pattern: /^MK_TME_ENABLED? bit: ([0-9a-f]{1,16})\b/i,
    msr: 0x982,
    high: 1,
    low: 1,
  },
  {
    pattern: /^HW_ENCRYPT_ENABLED? bit: ([0-9a-f]{1,16})\b/i,
    msr: 0x982,
    high: 1,
    low: 1,
  },
  {
    pattern: /^SEAM_RR bit: ([0-9a-f]{1,16})\b/i,
    msr: 0x1401,
    high: 11,
    low: 11,
  },
  {
    pattern: /^NUM_TDX_PRIV_KEYS: ([0-9a-f]{1,16})\b/i,
    msr: 0x87,
    high: 63,
    low: 32,
  },
  {
    pattern: /^SGX_AND_MCHECK_STATUS: ([0-9a-f]{1,16})\b/i,
    msr: 0xa0,
    high: 63,
    low: 0,
  },
]

/** QEMU 7.2 to 10.2 and libvirt 9 to 12, and the series of Intel before them. */
export const COMPLAINTS: readonly (readonly [RegExp, Complaint])[] = [
  [
    /(?:vm|kvm)-type '?(?:X86_)?TDX(?:_VM)?'? not supported by KVM/i,
    'kvm-refuses',
  ],
  [
    /does not accept value 'tdx-guest'|invalid object type:? '?tdx-guest|TDX launch security is not supported with this QEMU/i,
    'no-tdx-in-qemu',
  ],
  [/KVM_TDX_(?:CAPABILITIES|INIT_VM) failed/, 'other-interface'],
  [
    /failed to initialize kvm: No such (?:device|file)|Could not access KVM kernel module: No such/i,
    'no-kvm',
  ],
]

/** As kernels name them (arch/x86/kernel/cpu/). */
export const HYPERVISORS: Readonly<Partial<Record<string, string>>> = {
  KVMKVMKVM: 'KVM',
  'Microsoft Hv': 'Microsoft Hyper-V',
  VMwareVMware: 'VMware',
  XenVMMXenVMM: 'Xen HVM',
  ACRNACRNACRN: 'ACRN',
  TCGTCGTCGTCG: 'QEMU with TCG',
  'bhyve bhyve': 'bhyve',
}
