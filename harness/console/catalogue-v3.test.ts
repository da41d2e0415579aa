import t from 'tap'
import { line } from '../testing/consoles.ts'
import { type TdxRead, expectedRead, tdxReadFrom } from '../testing/tdx-read.ts'
import { lookUp } from './catalogue.ts'

/**
 * The v3 series of April 2022, arch/x86/virt/vmx/tdx/tdx.c, of which most
 * messages are its own. As in catalogue-lines.test.ts the texts are those of
 * the source, with numbers filled in by hand.
 */

type PrintedLine = readonly [from: string, text: string, read: TdxRead]
type PrintedConsole = readonly [
  from: string,
  texts: readonly string[],
  read: TdxRead,
]

const UNFINISHED: TdxRead = { outcome: 'unfinished' }
const DETECTED: TdxRead = { outcome: 'unfinished', stage: 'detect' }
const NOT_ENABLED: TdxRead = { outcome: 'not-enabled', stage: 'detect' }
const REFUSED: TdxRead = { outcome: 'disabled', stage: 'checks' }
const NO_MODULE: TdxRead = { outcome: 'failed', stage: 'sys-init' }
const BAD_SYSINFO: TdxRead = { outcome: 'failed', stage: 'sys-info' }

const LINES: readonly PrintedLine[] = [
  [
    'v3, detect_seam_bsp(), SEAMRR_PHYS_BASE',
    'tdx: SEAMRR base is not configured by BIOS',
    NOT_ENABLED,
  ],
  [
    'v3, detect_seam_bsp(), SEAMRR_PHYS_MASK',
    'tdx: SEAMRR is not enabled by BIOS',
    NOT_ENABLED,
  ],
  [
    'v3, detect_seam_ap()',
    'tdx: Inconsistent SEAMRR configuration by BIOS',
    NOT_ENABLED,
  ],
  [
    'v3, detect_tdx_keyids_ap()',
    'tdx: Inconsistent TDX KeyID configuration among packages by BIOS',
    NOT_ENABLED,
  ],
  ['v3, __tdx_detect()', 'tdx: SEAMRR not enabled.', NOT_ENABLED],
  [
    'v3, __tdx_detect(), one KeyID',
    'tdx: Number of TDX private KeyIDs too small: 1.',
    REFUSED,
  ],
  [
    'v3, detect_p_seamldr(), VMfailInvalid',
    'tdx: P-SEAMLDR is not loaded.',
    NO_MODULE,
  ],
  ['v3, detect_p_seamldr()', 'tdx: Failed to detect P-SEAMLDR.', NO_MODULE],
  [
    'v3, detect_p_seamldr(), which is not the module',
    'tdx: P-SEAMLDR: version 0x0, vendor_id: 0x8086, build_date: 20220222, build_num 131, major 1, minor 0',
    UNFINISHED,
  ],
  ['v3, __tdx_detect()', 'tdx: TDX module detected.', DETECTED],
  [
    'v3, seamcall(), of TDH.SYS.INIT, leaf in decimal',
    'tdx: SEAMCALL leaf 33 failed: 0xc000090000000000',
    { ...NO_MODULE, seamcalls: [{ leaf: 33, status: 0xc000090000000000n }] },
  ],
  [
    'v3, sanitize_cmrs()',
    'tdx: Firmware bug: invalid CMR(s) among valid CMRs.',
    BAD_SYSINFO,
  ],
  [
    'v3, init_tdx_module()',
    'tdx: Failed to initialize TDX module.',
    { outcome: 'failed' },
  ],
]

const MODULE = [
  'tdx: P-SEAMLDR: version 0x0, vendor_id: 0x8086, build_date: 20220222, build_num 131, major 2, minor 7',
  'tdx: TDX module detected.',
]
const SYSINFO =
  'tdx: TDX module: vendor_id 0x8086, major_version 1, minor_version 0, build_date 20220315, build_num 155'
const UNUSED = Array.from({ length: 30 }, () => 'tdx: BIOS-CMR : [0x0, 0x0)')

/** tdx_detect_cpu() at boot, then tdx_detect() and tdx_init() for KVM. */
const CONSOLES: readonly PrintedConsole[] = [
  [
    'v3, it works: two lists of CMRs, with unused entries in the first',
    [
      ...MODULE,
      SYSINFO,
      'tdx: BIOS-CMR : [0x100000, 0x78000000)',
      'tdx: BIOS-CMR : [0x100000000, 0x107c000000)',
      ...UNUSED,
      'tdx: Kernel-sanitized-CMR : [0x100000, 0x78000000)',
      'tdx: Kernel-sanitized-CMR : [0x100000000, 0x107c000000)',
      'tdx: TDX module initialized.',
    ],
    {
      outcome: 'initialized',
      stage: 'done',
      module: [1, 0, null, 155, 20220315],
      cmrs: [
        ['Kernel-sanitized-CMR', 0x100000, 0x78000000],
        ['Kernel-sanitized-CMR', 0x100000000, 0x107c000000],
      ],
    },
  ],
  [
    'v3, an unused entry among the CMRs',
    [
      ...MODULE,
      SYSINFO,
      'tdx: BIOS-CMR : [0x100000, 0x78000000)',
      'tdx: BIOS-CMR : [0x0, 0x0)',
      'tdx: BIOS-CMR : [0x100000000, 0x107c000000)',
      'tdx: Firmware bug: invalid CMR(s) among valid CMRs.',
      'tdx: Failed to initialize TDX module.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      module: [1, 0, null, 155, 20220315],
      cmrs: [
        ['BIOS-CMR', 0x100000, 0x78000000],
        ['BIOS-CMR', 0x100000000, 0x107c000000],
      ],
    },
  ],
  [
    'v3, nothing but unused entries',
    [
      ...MODULE,
      SYSINFO,
      ...UNUSED,
      'tdx: Firmware bug: No valid CMR.',
      'tdx: Failed to initialize TDX module.',
    ],
    {
      outcome: 'failed',
      stage: 'sys-info',
      module: [1, 0, null, 155, 20220315],
    },
  ],
  [
    'v3, TDH.SYS.LP.INIT fails',
    [
      ...MODULE,
      'tdx: SEAMCALL leaf 35 failed: 0xc000092000000087',
      'tdx: Failed to initialize TDX module.',
    ],
    {
      outcome: 'failed',
      stage: 'lp-init',
      seamcalls: [{ leaf: 35, status: 0xc000092000000087n }],
    },
  ],
  [
    'v3, no SEAMRR, which is said at boot and when KVM asks',
    ['tdx: SEAMRR is not enabled by BIOS', 'tdx: SEAMRR not enabled.'],
    { outcome: 'not-enabled', stage: 'detect' },
  ],
]

t.test('a line of v3, on its own', async t => {
  for (const [from, text, read] of LINES) {
    t.ok(lookUp(text), `${from}: '${text}' is in the catalogue`)
    t.strictSame(
      tdxReadFrom(line(text)),
      expectedRead(read),
      `${from}: ${text}`,
    )
  }
})

t.test('the TDX lines of a boot of v3, together', async t => {
  for (const [from, texts, read] of CONSOLES) {
    const console = texts.map((text, i) => line(text, i)).join('')
    t.strictSame(tdxReadFrom(console), expectedRead(read), from)
  }
})
