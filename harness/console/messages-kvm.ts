import type { Argument, Row } from './message.ts'

/** KVM refused before anybody tried: the kernel turned TDX off. */
const REFUSED = { outcome: 'disabled', stage: 'checks' } as const

const NOT_ENABLED = { outcome: 'not-enabled', stage: 'detect' } as const

const SEAMCALL_ARGUMENTS: readonly Argument[] = [
  'leaf-name',
  'status',
  'rcx',
  'rdx',
  'r8',
]

/** arch/x86/kvm/vmx/, which asks for the initialisation in most kernels. */
export const KVM_MESSAGES: readonly Row[] = [
  { format: 'EPT is required for TDX', ...REFUSED },
  {
    format: 'TDP MMU and MMIO caching and EPT A/D bit is required for TDX',
    ...REFUSED,
  },
  { format: 'APICv is required for TDX', ...REFUSED },
  { format: 'tdx: OSXSAVE is required for TDX', ...REFUSED },
  // 7.x.
  { format: 'OSXSAVE is required for TDX', ...REFUSED },
  { format: 'tdx: MOVDIR64B is required for TDX', ...REFUSED },
  { format: 'Self-snoop is required for TDX', ...REFUSED },
  { format: 'tdx: no TDX private KeyIDs available', ...NOT_ENABLED },
  { format: 'TDX not supported by the host platform', ...NOT_ENABLED },
  {
    format: 'tdx: tdx requires kvm.enable_virt_at_load=1',
    ...REFUSED,
  },
  {
    format:
      'Disable TDX: MAX_VCPU_PER_TD (%u) smaller than number of logical CPUs (%u).',
    arguments: ['none', 'none'],
  },
  { format: 'Failed to initialize TDX module.', outcome: 'failed' },
  // pr_tdx_error() of 6.16 and later, with what registers it has.
  ...['', ', rcx 0x%llx', ', rcx 0x%llx, rdx 0x%llx'].map((rest, i) => ({
    format: `SEAMCALL %s failed: 0x%llx${rest}`,
    outcome: 'failed' as const,
    arguments: SEAMCALL_ARGUMENTS.slice(0, 2 + i),
  })),
  {
    format: 'SEAMCALL %s failed: 0x%llx, rcx 0x%llx, rdx 0x%llx, r8 0x%llx',
    outcome: 'failed',
    arguments: SEAMCALL_ARGUMENTS,
  },
  // Later ones print the arguments of the call, by the names they have there.
  ...[1, 2, 3].map(count => ({
    format: `SEAMCALL %s failed: 0x%llx${', %s 0x%llx'.repeat(count)}`,
    outcome: 'failed' as const,
    arguments: [
      ...SEAMCALL_ARGUMENTS.slice(0, 2),
      ...Array.from({ length: 2 * count }, () => 'none' as const),
    ],
  })),
  {
    // 6.16 to 7.0; later the core says it.
    format:
      'TDX requires all packages to have an online CPU. Delete all TDs in order to offline all CPUs of a package.',
  },
  {
    // tdx_td_init() (arch/x86/kvm/vmx/tdx.c), when a TD is created.
    format:
      'All packages need to have online CPU to create TD. Online CPU and retry.',
  },
  // A TD that ended, and pages of it after a machine check: vendors' 5.10.
  { format: 'kvm [%d]: TD exit 0x%llx, %d hkid 0x%x hkid pa 0x%llx' },
  { format: 'cleared poisoned cache hkid 0x%x pa 0x%llx' },
  { format: 'TDX is supported.' },
  { format: 'tdx: max servtds supported per user TD is %u' },
  { format: 'tdx: live migration supported' },
  { format: 'tdx: td partitioning supported' },
]

/** A kernel that runs in a TD says one of these, or several. */
const IN_A_TD: readonly Row[] = [
  // arch/x86/kernel/process.c, select_idle_routine().
  { format: 'process: using TDX aware idle routine', guest: true },
  // arch/x86/mm/mem_encrypt.c, print_mem_encrypt_feature_info().
  { format: 'Memory Encryption Features active: Intel TDX', guest: true },
  { format: 'Detected confidential virtualization tdx.', guest: true },
  {
    format: 'systemd[1]: Detected confidential virtualization tdx.',
    guest: true,
  },
]

/** Without a prefix: SEAMCALLs of KVM, and what else speaks of TDX. */
export const OTHER_MESSAGES: readonly Row[] = [
  {
    format: 'SEAMCALL (0x%016llx) failed: 0x%016llx',
    outcome: 'failed',
    arguments: ['leaf', 'status'],
  },
  {
    format:
      'SEAMCALL (0x%llx) failed: 0x%llx RCX 0x%llx RDX 0x%llx R8 0x%llx R9 0x%llx R10 0x%llx R11 0x%llx',
    outcome: 'failed',
    arguments: ['leaf', 'status', 'rcx', 'rdx', 'r8', 'r9', 'r10', 'r11'],
  },
  {
    // v5, arch/x86/mm/init_64.c, which has no pr_fmt().
    format: 'Unable to add memory [0x%llx, 0x%llx) on TDX enabled platform.',
    outcome: 'unfinished',
  },
  { format: 'VMXON faulted, MSR_IA32_FEAT_CTL (0x3a) = 0x%llx' },
  { format: 'TDX requires TDP MMU.  Please enable TDP MMU for TDX.' },
  {
    // Vendors' 5.10 and 5.15, arch/x86/kvm/vmx/.
    format: 'SEAMCALL[%s(%llu)] failed: Unknown SEAMCALL status code(0x%llx)',
    outcome: 'failed',
    arguments: ['none', 'leaf-decimal', 'status'],
  },
  {
    format: 'SEAMCALL[%s(%llu)] failed: %s(0x%llx)',
    outcome: 'failed',
    arguments: ['none', 'leaf-decimal', 'none', 'status'],
  },
  ...IN_A_TD,
]
