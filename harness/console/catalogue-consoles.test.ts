import t from 'tap'
import { line } from '../testing/consoles.ts'
import { type TdxRead, expectedRead, tdxReadFrom } from '../testing/tdx-read.ts'

/**
 * The TDX lines of whole boots, in the order in which the kernels' functions
 * print them, with numbers filled in by hand. For each range of versions there
 * is one that works, and one that does not.
 */
type PrintedConsole = readonly [
  from: string,
  texts: readonly string[],
  read: TdxRead,
]

const V5_DETECTED = [
  'tdx: SEAMRR enabled.',
  'tdx: TDX private KeyID range: [16, 48).',
  'tdx: TDX enabled by BIOS.',
]
const V5_MODULE =
  'tdx: TDX module: vendor_id 0x8086, major_version 1, minor_version 0, build_date 20220513, build_num 158'
const KERNEL_CMRS = [
  'tdx: Kernel-checked-CMR : [0x100000, 0x78000000)',
  'tdx: Kernel-checked-CMR : [0x100000000, 0x107c000000)',
]

const CMRS = [
  ['Kernel-checked-CMR', 0x100000, 0x78000000],
  ['Kernel-checked-CMR', 0x100000000, 0x107c000000],
] as const
const V5_READ = {
  keyids: [16, 48],
  module: [1, 0, null, 158, 20220513],
  cmrs: CMRS,
} as const

/** tdx_early_detect() at boot, then __tdx_init() for KVM. */
const V4_AND_V5: readonly PrintedConsole[] = [
  [
    'v4 and v5, it works',
    [
      ...V5_DETECTED,
      V5_MODULE,
      ...KERNEL_CMRS,
      'tdx: 65667 pages allocated for PAMT.',
      'tdx: TDX module initialized.',
    ],
    { outcome: 'initialized', stage: 'done', pamtKib: 262668, ...V5_READ },
  ],
  [
    'v4, TDH.SYS.INIT fails, which has no output to print',
    [
      ...V5_DETECTED,
      'tdx: SEAMCALL failed: leaf: 0x21, error: 0xc000092100000122',
      'tdx: Failed to initialize TDX module.  Shut it down.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-init',
      keyids: [16, 48],
      seamcalls: [{ leaf: 33, status: 0xc000092100000122n }],
    },
  ],
  [
    'v5, TDH.SYS.CONFIG fails, which has no output to print',
    [
      ...V5_DETECTED,
      V5_MODULE,
      ...KERNEL_CMRS,
      'tdx: SEAMCALL failed: leaf: 0x2d, error: 0xc0000a1000000200',
      'tdx: Failed to initialize TDX module.  Shut it down.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-config',
      seamcalls: [{ leaf: 45, status: 0xc0000a1000000200n }],
      ...V5_READ,
    },
  ],
  [
    'v5, TDH.SYS.INFO fails, and its output is on a line of its own',
    [
      ...V5_DETECTED,
      'tdx: SEAMCALL failed: leaf: 0x20, error: 0xc000010000000008',
      'tdx: SEAMCALL additional output: rcx 0x0, rdx 0x400, r8 0x1000, r9 0x20, r10 0x0, r11 0x0.',
      'tdx: Failed to initialize TDX module.  Shut it down.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      keyids: [16, 48],
      seamcalls: [
        {
          leaf: 32,
          status: 0xc000010000000008n,
          registers: {
            rcx: 0n,
            rdx: 0x400n,
            r8: 0x1000n,
            r9: 0x20n,
            r10: 0n,
            r11: 0n,
          },
        },
      ],
    },
  ],
  [
    'v5, memory that is in no CMR',
    [
      ...V5_DETECTED,
      V5_MODULE,
      ...KERNEL_CMRS,
      'tdx: [0x107c000000, 0x1080000000) is not fully convertible memory',
      'tdx: Failed to initialize TDX module.  Shut it down.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      failedRange: { start: 0x107c000000, end: 0x1080000000 },
      ...V5_READ,
    },
  ],
]

const V6_DETECTED =
  'tdx: TDX enabled by BIOS. TDX private KeyID range: [64, 128)'
const V6_MODULE =
  'tdx: TDX module: atributes 0x0, vendor_id 0x8086, major_version 1, minor_version 0, build_date 20221019, build_num 330'
const V6_READ = {
  keyids: [64, 128],
  module: [1, 0, null, 330, 20221019],
  cmrs: CMRS,
} as const

/** tdx_init() at boot, then __tdx_enable(). */
const V6: readonly PrintedConsole[] = [
  [
    'v6, it works',
    [
      V6_DETECTED,
      V6_MODULE,
      ...KERNEL_CMRS,
      'tdx: 65668 pages allocated for PAMT.',
      'tdx: TDX module initialized.',
    ],
    { outcome: 'initialized', stage: 'done', pamtKib: 262672, ...V6_READ },
  ],
  [
    'v6, too many reserved areas, which has no line of its own',
    [
      V6_DETECTED,
      V6_MODULE,
      ...KERNEL_CMRS,
      'tdx: Failed to initialize TDX module.  Shut it down.',
    ],
    { outcome: 'failed', ...V6_READ },
  ],
  [
    'v6, no module',
    [V6_DETECTED, 'tdx: TDX module is not loaded.'],
    { outcome: 'failed', stage: 'sys-init', keyids: [64, 128] },
  ],
]

/** tdx_init() at boot, then __tdx_enable(). */
const V9: readonly PrintedConsole[] = [
  [
    'v9, TDH.SYS.INFO fails',
    [
      'tdx: BIOS enabled: private KeyID range [32, 64)',
      'tdx: SEAMCALL failed: leaf 32, error 0xc000010000000008.',
      'tdx: additional output: rcx 0x0, rdx 0x400, r8 0x1000, r9 0x20, r10 0x0, r11 0x0.',
      'tdx: initialization failed (-5)',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      errno: -5,
      keyids: [32, 64],
      seamcalls: [
        {
          leaf: 32,
          status: 0xc000010000000008n,
          registers: {
            rcx: 0n,
            rdx: 0x400n,
            r8: 0x1000n,
            r9: 0x20n,
            r10: 0n,
            r11: 0n,
          },
        },
      ],
    },
  ],
]

const DETECTED = [
  'virt/tdx: BIOS enabled: private KeyID range [32, 64)',
  'virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.',
]
/** seamcall_err_ret(), of TDH.SYS.RD on a module that has none. */
const NO_SYS_RD = [
  'virt/tdx: SEAMCALL (0x0000000000000022) failed: 0xc000050500000000',
  'virt/tdx: RCX 0x0000000000000000 RDX 0xffffffffffffffff R08 0x0000000000000000',
  'virt/tdx: R09 0x0000000000000000 R10 0x0000000000000000 R11 0x0000000000000000',
]
const NO_SYS_RD_READ = {
  leaf: 34,
  status: 0xc000050500000000n,
  registers: {
    rcx: 0n,
    rdx: 0xffffffffffffffffn,
    r8: 0n,
    r9: 0n,
    r10: 0n,
    r11: 0n,
  },
} as const

/** tdx_init() at boot, then tdx_cpu_enable() and tdx_enable(). */
const SINCE_6_8: readonly PrintedConsole[] = [
  [
    '6.8 to 6.15, it works',
    [
      ...DETECTED,
      'virt/tdx: 16428 KB allocated for PAMT',
      'virt/tdx: module initialized',
    ],
    {
      outcome: 'initialized',
      stage: 'done',
      keyids: [32, 64],
      pamtKib: 16428,
    },
  ],
  [
    '6.8 to 6.15, seventeen holes',
    [
      ...DETECTED,
      'virt/tdx: initialization failed: TDMR [0x40000000, 0x80000000): reserved areas exhausted.',
      'virt/tdx: module initialization failed (-28)',
    ],
    {
      outcome: 'failed',
      stage: 'reserved-areas',
      errno: -28,
      keyids: [32, 64],
      failedRange: { start: 0x40000000, end: 0x80000000 },
    },
  ],
  [
    '6.8 to 6.15, a module without TDH.SYS.RD',
    [...DETECTED, ...NO_SYS_RD, 'virt/tdx: module initialization failed (-5)'],
    {
      outcome: 'failed',
      stage: 'sys-info',
      errno: -5,
      keyids: [32, 64],
      seamcalls: [NO_SYS_RD_READ],
    },
  ],
]

/** The same, for kvm_intel.tdx=1. */
const SINCE_6_16: readonly PrintedConsole[] = [
  [
    '6.16 to 7.0, it works, and a TD fails later',
    [
      ...DETECTED,
      'virt/tdx: 1050636 KB allocated for PAMT',
      'virt/tdx: module initialized',
      'kvm_intel: SEAMCALL TDH_MNG_CREATE failed: 0xc000010000000002',
    ],
    {
      outcome: 'initialized',
      stage: 'done',
      keyids: [32, 64],
      pamtKib: 1050636,
      seamcalls: [{ leaf: 9, status: 0xc000010000000002n }],
    },
  ],
  [
    '6.16 to 7.0, a module that clobbers RBP',
    [
      ...DETECTED,
      'virt/tdx: frame pointer (RBP) clobber bug present, upgrade TDX module',
      'virt/tdx: module initialization failed (-22)',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      errno: -22,
      keyids: [32, 64],
    },
  ],
]

/** tdx_init(), then tdx_enable() while the kernel boots. */
const SINCE_7_1: readonly PrintedConsole[] = [
  [
    '7.x, it works, and the module cannot be disabled at power-off',
    [
      ...DETECTED,
      'virt/tdx: Module version: 1.5.01',
      'virt/tdx: 8212 KB allocated for PAMT',
      'virt/tdx: TDX-Module initialized',
      'virt/tdx: TDH.SYS.DISABLE failed: 0xc000010000000000',
    ],
    {
      outcome: 'initialized',
      stage: 'done',
      keyids: [32, 64],
      pamtKib: 8212,
      module: [1, 5, 1, null, null],
    },
  ],
  [
    '7.x, memory that is in no CMR',
    [
      ...DETECTED,
      'virt/tdx: Module version: 1.5.01',
      'virt/tdx: SEAMCALL (0x000000000000002d) failed: 0xc0000a0200000001',
      'virt/tdx: TDX-Module initialization failed (-5)',
    ],
    {
      outcome: 'failed',
      stage: 'sys-config',
      errno: -5,
      keyids: [32, 64],
      module: [1, 5, 1, null, null],
      seamcalls: [{ leaf: 45, status: 0xc0000a0200000001n }],
    },
  ],
  [
    '7.x, a module without TDH.SYS.RD',
    [
      ...DETECTED,
      ...NO_SYS_RD,
      'virt/tdx: Module version: 0.0.00',
      'virt/tdx: TDX-Module initialization failed (-5)',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      errno: -5,
      keyids: [32, 64],
      module: [0, 0, 0, null, null],
      seamcalls: [NO_SYS_RD_READ],
    },
  ],
  [
    '7.x, TDH.SYS.LP.INIT fails, and nothing sums it up',
    [
      ...DETECTED,
      'virt/tdx: SEAMCALL (0x0000000000000023) failed: 0xc000092000000087',
    ],
    {
      outcome: 'failed',
      stage: 'lp-init',
      keyids: [32, 64],
      seamcalls: [{ leaf: 35, status: 0xc000092000000087n }],
    },
  ],
  [
    '7.x, hibernation is possible, and then there is no such platform',
    [
      DETECTED[0]!,
      'virt/tdx: initialization failed: Hibernation support is enabled',
      'virt/tdx: TDX not supported by the host platform',
    ],
    { outcome: 'disabled', stage: 'checks', keyids: [32, 64] },
  ],
]

t.test('the TDX lines of a boot, together', async t => {
  for (const [from, texts, read] of [
    ...V4_AND_V5,
    ...V6,
    ...V9,
    ...SINCE_6_8,
    ...SINCE_6_16,
    ...SINCE_7_1,
  ]) {
    const console = texts.map((text, i) => line(text, i)).join('')
    t.strictSame(tdxReadFrom(console), expectedRead(read), from)
  }
})
