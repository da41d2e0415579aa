import t from 'tap'
import { line } from '../testing/consoles.ts'
import { type TdxRead, expectedRead, tdxReadFrom } from '../testing/tdx-read.ts'
import { lookUp } from './catalogue.ts'

/**
 * Lines as kernels print them: the texts are those of the kernels' sources and
 * of the patches, with numbers filled in by hand. Nothing here is made from
 * the catalogue, which therefore cannot agree with itself.
 */

type PrintedLine = readonly [from: string, text: string, read: TdxRead]

const UNFINISHED: TdxRead = { outcome: 'unfinished' }
const DETECTED: TdxRead = { outcome: 'unfinished', stage: 'detect' }
const REFUSED: TdxRead = { outcome: 'disabled', stage: 'checks' }
const NO_MODULE: TdxRead = { outcome: 'failed', stage: 'sys-init' }
const BAD_SYSINFO: TdxRead = { outcome: 'failed', stage: 'sys-info' }
const DONE: TdxRead = { outcome: 'initialized', stage: 'done' }

/** What v4 and v5 print of a failed TDH.SYS.INFO. */
const SYS_INFO_OUTPUT = {
  rcx: 0n,
  rdx: 0x400n,
  r8: 0x1000n,
  r9: 0x20n,
  r10: 0n,
  r11: 0n,
} as const

/** v3, April 2022, to v5, June 2022: arch/x86/virt/vmx/tdx/tdx.c. */
const V3_TO_V5: readonly PrintedLine[] = [
  [
    'v3, tdx_get_sysinfo()',
    'tdx: TDX module: vendor_id 0x8086, major_version 1, minor_version 0, build_date 20220315, build_num 155',
    { ...UNFINISHED, module: [1, 0, null, 155, 20220315] },
  ],
  [
    'v3, print_cmrs() of what sanitize_cmrs() left',
    'tdx: Kernel-sanitized-CMR : [0x100000, 0x77800000)',
    {
      ...UNFINISHED,
      cmrs: [['Kernel-sanitized-CMR', 0x100000, 0x77800000]],
    },
  ],
  [
    'v3, sanitize_cmrs()',
    'tdx: Firmware bug: CMRs not in address ascending order.',
    BAD_SYSINFO,
  ],
  ['v3, __tdx_detect()', 'tdx: TDX module is not loaded.', NO_MODULE],
  [
    'v3, e820_check_against_cmrs()',
    'tdx: [0x100000000, 0x2080000000) is not fully convertible memory',
    {
      ...BAD_SYSINFO,
      failedRange: { start: 0x100000000, end: 0x2080000000 },
    },
  ],
  ['v4, detect_seam()', 'tdx: SEAMRR enabled.', UNFINISHED],
  [
    'v4, detect_tdx_keyids()',
    'tdx: TDX private KeyID range: [16, 48).',
    { ...DETECTED, keyids: [16, 48] },
  ],
  ['v4, tdx_early_detect()', 'tdx: TDX enabled by BIOS.', DETECTED],
  [
    'v4, seamcall() without output, of TDH.SYS.INIT',
    'tdx: SEAMCALL failed: leaf: 0x21, error: 0xc000092100000122',
    { ...NO_MODULE, seamcalls: [{ leaf: 33, status: 0xc000092100000122n }] },
  ],
  [
    'v4, seamcall() with output, of TDH.SYS.INFO, on one line',
    'tdx: SEAMCALL failed: leaf: 0x20, error: 0xc000010000000008, additional output: rcx 0x0, rdx 0x400, r8 0x1000, r9 0x20, r10 0x0, r11 0x0.',
    {
      ...BAD_SYSINFO,
      seamcalls: [
        {
          leaf: 32,
          status: 0xc000010000000008n,
          registers: SYS_INFO_OUTPUT,
        },
      ],
    },
  ],
  [
    'v5, seamcall() with output, behind the line of the call',
    'tdx: SEAMCALL additional output: rcx 0x0, rdx 0x400, r8 0x1000, r9 0x20, r10 0x0, r11 0x0.',
    UNFINISHED,
  ],
  [
    'v5, arch_memory_add_precheck() of arch/x86/mm/init_64.c, no pr_fmt()',
    'Unable to add memory [0x1080000000, 0x1480000000) on TDX enabled platform.',
    UNFINISHED,
  ],
  [
    'v5, arch_memory_add_precheck(), of a kernel with a prefix there',
    'tdx: Unable to add memory [0x1080000000, 0x1480000000) on TDX enabled platform.',
    UNFINISHED,
  ],
  [
    'v5, seamcall(), of TDH.SYS.CONFIG',
    'tdx: SEAMCALL failed: leaf: 0x2d, error: 0xc0000a1200010000',
    {
      outcome: 'failed',
      stage: 'sys-config',
      seamcalls: [{ leaf: 45, status: 0xc0000a1200010000n }],
    },
  ],
  [
    'v5, check_cmrs()',
    'tdx: Firmware bug: invalid CMR(s) before valid CMRs.',
    BAD_SYSINFO,
  ],
  [
    'v5, __tdx_init()',
    "tdx: Unable to initialize the TDX module when there's offline CPU(s).",
    { outcome: 'failed', stage: 'checks' },
  ],
  [
    'v5, init_tdx_module()',
    'tdx: 65667 pages allocated for PAMT.',
    { ...UNFINISHED, pamtKib: 262668 },
  ],
  ['v5, __tdx_init()', 'tdx: TDX module initialized.', DONE],
]

/** v6 and v7, October and November 2022. */
const V6_AND_V7: readonly PrintedLine[] = [
  [
    'v6, detect_tdx() of tdx_init()',
    'tdx: TDX enabled by BIOS. TDX private KeyID range: [64, 128)',
    { ...DETECTED, keyids: [64, 128] },
  ],
  [
    'v6, tdx_init(), one KeyID',
    "tdx: Disable TDX as there's only one TDX private KeyID available.",
    REFUSED,
  ],
  [
    'v6, tdx_init(), xAPIC',
    'tdx: Disable TDX as X2APIC is not enabled.',
    REFUSED,
  ],
  [
    'v6, tdx_init(), kmalloc() failed',
    'tdx: Build TDX-usable memory regions failed. Disable TDX.',
    { outcome: 'disabled', stage: 'regions' },
  ],
  [
    'v6, tdx_get_sysinfo()',
    'tdx: TDX module: atributes 0x0, vendor_id 0x8086, major_version 1, minor_version 0, build_date 20221104, build_num 342',
    { ...UNFINISHED, module: [1, 0, null, 342, 20221104] },
  ],
  ['v6, check_cmrs()', 'tdx: Firmware bug: No valid CMR.', BAD_SYSINFO],
  [
    'v6, __tdx_enable()',
    'tdx: Failed to initialize TDX module.  Shut it down.',
    { outcome: 'failed' },
  ],
  [
    'v7, build_tdx_memlist()',
    'tdx: Memory region [0x1000000, 0x7e000000) is not TDX convertible memorry.',
    { ...BAD_SYSINFO, failedRange: { start: 0x1000000, end: 0x7e000000 } },
  ],
  [
    'v7, trim_empty_cmrs()',
    'tdx: [TDX broken ?]: Invalid CMRs detected',
    BAD_SYSINFO,
  ],
  [
    'v7, __tdx_enable()',
    'tdx: Failed to initialize TDX module. Shut it down.',
    { outcome: 'failed' },
  ],
]

/** v8, December 2022, to v14, October 2023, and what was made of them. */
const V8_TO_V14: readonly PrintedLine[] = [
  [
    'v9, tdx_init(), one KeyID',
    'tdx: initialization failed: too few private KeyIDs available (1).',
    REFUSED,
  ],
  [
    'v9, seamcall(), leaf in decimal',
    'tdx: SEAMCALL failed: leaf 35, error 0xc0000920000000cf.',
    {
      outcome: 'failed',
      stage: 'lp-init',
      seamcalls: [{ leaf: 35, status: 0xc0000920000000cfn }],
    },
  ],
  [
    'v9, __tdx_enable()',
    'tdx: initialization failed (-22)',
    { outcome: 'failed', errno: -22 },
  ],
  [
    'v9, print_cmrs()',
    'tdx: CMR: [0x100000, 0x6f800000)',
    { ...UNFINISHED, cmrs: [[null, 0x100000, 0x6f800000]] },
  ],
  [
    'v14, get_tdx_sysinfo()',
    'virt/tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version 1, minor_version 5, build_date 20230323, build_num 481',
    { ...UNFINISHED, module: [1, 5, null, 481, 20230323] },
  ],
  [
    'v14, init_tdx_module()',
    'virt/tdx: 1050644 KBs allocated for PAMT',
    { ...UNFINISHED, pamtKib: 1050644 },
  ],
  [
    'v14, tdx_init()',
    'virt/tdx: initialization failed: register_reboot_notifier() failed (-12)',
    { ...REFUSED, errno: -12 },
  ],
]

/** Linux 6.8 to 6.15: arch/x86/virt/vmx/tdx/tdx.c. */
const SINCE_6_8: readonly PrintedLine[] = [
  [
    '6.12, tdx_init()',
    'virt/tdx: BIOS enabled: private KeyID range [1, 64)',
    { ...DETECTED, keyids: [1, 64] },
  ],
  [
    '6.12, tdx_init(), one KeyID',
    'virt/tdx: initialization failed: too few private KeyIDs available.',
    REFUSED,
  ],
  [
    '6.12, tdx_init(), hibernation_available()',
    'virt/tdx: initialization failed: Hibernation support is enabled',
    REFUSED,
  ],
  [
    '6.12, tdx_init()',
    'virt/tdx: initialization failed: register_memory_notifier() failed (-17)',
    { ...REFUSED, errno: -17 },
  ],
  [
    '6.12, tdx_init(), CONFIG_SUSPEND',
    'virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.',
    UNFINISHED,
  ],
  [
    '6.12, try_init_module_global(), VMfailInvalid',
    'virt/tdx: module not loaded',
    NO_MODULE,
  ],
  [
    '6.12, seamcall_err(), of TDH.SYS.KEY.CONFIG',
    'virt/tdx: SEAMCALL (0x000000000000001f) failed: 0x8000080000000000',
    {
      outcome: 'failed',
      stage: 'key-config',
      seamcalls: [{ leaf: 31, status: 0x8000080000000000n }],
    },
  ],
  [
    '6.12, fill_out_tdmrs()',
    'virt/tdx: initialization failed: TDMRs exhausted.',
    { outcome: 'failed', stage: 'tdmrs' },
  ],
  [
    '6.12, fill_out_tdmrs(), fewer than four are left',
    'virt/tdx: consumed TDMRs reaching limit: 61 used out of 64',
    UNFINISHED,
  ],
  [
    '6.12, tdmr_get_nid()',
    'virt/tdx: TDMR [0x40000000, 0x80000000): unable to find local NUMA node for PAMT allocation, fallback to use node 0.',
    UNFINISHED,
  ],
  [
    '6.12, tdmr_add_rsvd_area()',
    'virt/tdx: initialization failed: TDMR [0x0, 0x80000000): reserved areas exhausted.',
    {
      outcome: 'failed',
      stage: 'reserved-areas',
      failedRange: { start: 0, end: 0x80000000 },
    },
  ],
  [
    '6.12, init_tdx_module()',
    'virt/tdx: 1034220 KB allocated for PAMT',
    { ...UNFINISHED, pamtKib: 1034220 },
  ],
  [
    '6.12, __tdx_enable(), after alloc_contig_pages()',
    'virt/tdx: module initialization failed (-12)',
    { outcome: 'failed', stage: 'pamt', errno: -12 },
  ],
  ['6.12, __tdx_enable()', 'virt/tdx: module initialized', DONE],
]

/** Linux 6.16 to 7.0, where arch/x86/kvm/vmx/tdx.c asks for it. */
const SINCE_6_16: readonly PrintedLine[] = [
  [
    '6.16, check_features()',
    'virt/tdx: frame pointer (RBP) clobber bug present, upgrade TDX module',
    BAD_SYSINFO,
  ],
  ['6.16, tdx_bringup()', 'kvm_intel: EPT is required for TDX', REFUSED],
  [
    '6.16, tdx_bringup()',
    'kvm_intel: TDP MMU and MMIO caching and EPT A/D bit is required for TDX',
    REFUSED,
  ],
  [
    '6.16, tdx_bringup()',
    'kvm_intel: tdx: MOVDIR64B is required for TDX',
    REFUSED,
  ],
  [
    '6.16, tdx_bringup()',
    'kvm_intel: tdx: no TDX private KeyIDs available',
    { outcome: 'not-enabled', stage: 'detect' },
  ],
  [
    '6.16, tdx_bringup()',
    'kvm_intel: tdx: tdx requires kvm.enable_virt_at_load=1',
    REFUSED,
  ],
  [
    '6.16, __tdx_bringup()',
    'kvm_intel: Disable TDX: MAX_VCPU_PER_TD (64) smaller than number of logical CPUs (224).',
    UNFINISHED,
  ],
  [
    '6.16, tdx_offline_cpu() of arch/x86/kvm/vmx/tdx.c',
    'kvm_intel: TDX requires all packages to have an online CPU. Delete all TDs in order to offline all CPUs of a package.',
    UNFINISHED,
  ],
]

/** Linux 7.1 and later, where the kernel does it while it boots. */
const SINCE_7_1: readonly PrintedLine[] = [
  [
    '7.x, tdx_enable(), no KeyIDs',
    'virt/tdx: TDX not supported by the host platform',
    { outcome: 'not-enabled', stage: 'detect' },
  ],
  ['7.x, tdx_enable()', 'virt/tdx: XSAVE is required for TDX', REFUSED],
  ['7.x, tdx_enable()', 'virt/tdx: MOVDIR64B is required for TDX', REFUSED],
  ['7.x, tdx_enable()', 'virt/tdx: Self-snoop is required for TDX', REFUSED],
  [
    '7.x, get_tdx_sys_info()',
    'virt/tdx: Module version: 1.5.06',
    { ...UNFINISHED, module: [1, 5, 6, null, null] },
  ],
  [
    '7.x as posted, print_module_version()',
    'virt/tdx: TDX-Module version: 1.5.06',
    { ...UNFINISHED, module: [1, 5, 6, null, null] },
  ],
  [
    '7.x as proposed before',
    'virt/tdx: TDX module version: 1.5.24',
    { ...UNFINISHED, module: [1, 5, 24, null, null] },
  ],
  [
    '7.x, tdx_bringup() of arch/x86/kvm/vmx/tdx.c',
    'kvm_intel: OSXSAVE is required for TDX',
    REFUSED,
  ],
  [
    '7.x, tdx_enable()',
    'virt/tdx: TDX-Module initialization failed (-19)',
    { outcome: 'failed', errno: -19 },
  ],
  ['7.x, tdx_enable()', 'virt/tdx: TDX-Module initialized', DONE],
  [
    '7.x, tdx_offline_cpu()',
    'virt/tdx: TDX requires all packages to have an online CPU. Delete all TDs in order to offline all CPUs of a package.',
    UNFINISHED,
  ],
]

t.test('a line of a kernel, on its own', async t => {
  for (const [from, text, read] of [
    ...V3_TO_V5,
    ...V6_AND_V7,
    ...V8_TO_V14,
    ...SINCE_6_8,
    ...SINCE_6_16,
    ...SINCE_7_1,
  ]) {
    t.ok(lookUp(text), `${from}: '${text}' is in the catalogue`)
    t.strictSame(
      tdxReadFrom(line(text)),
      expectedRead(read),
      `${from}: ${text}`,
    )
  }
})

t.test('a line that is nearly one of a kernel', async t => {
  for (const text of [
    // One blank, two, and none.
    'tdx: Failed to initialize TDX module.   Shut it down.',
    'tdx: 65667 pages allocated for PAMT',
    'virt/tdx: 1034220 KiB allocated for PAMT',
    'virt/tdx: module initialization failed (28',
    'virt/tdx: BIOS enabled: private KeyID range [1, 64]',
    'virt/tdx: SEAMCALL (0x2d) failed: -5',
    'virt/tdx: TDX-Module initialised',
  ]) {
    t.equal(lookUp(text), undefined, text)
    t.strictSame(
      tdxReadFrom(line(text)),
      { ...expectedRead(UNFINISHED), unknown: [text] },
      text,
    )
  }
})
