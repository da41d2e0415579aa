import t from 'tap'
import {
  ABOVE,
  HIGH,
  LOW,
  MAP,
  first,
  only,
  regionsOf,
  said,
  version,
} from '../testing/posted.ts'

const G = 2 ** 30
const M = 2 ** 20

const told = (cmdline: string, ...more: readonly string[]) =>
  only(
    ...first(
      version('6.12.10'),
      `Command line: ro ${cmdline}`,
      ...MAP,
      ...more,
    ),
  )

t.test('what was asked, and whether it took effect', async t => {
  const user = (...texts: readonly string[]): string[] => [
    'user-defined physical RAM map:',
    ...texts.map(text => text.replace('BIOS-e820', 'user')),
  ]
  const asked = (cmdline: string, ...more: readonly string[]) =>
    told(cmdline, ...more).asked.map(({ word, effect }) => [word, effect])
  t.same(asked('mem=4G', ...user(LOW, HIGH, ABOVE)), [['mem=4G', 'no']])
  const has = (gib: number) =>
    `Memory: 1K/${gib * 2 ** 20}K available (2687K kernel code)`
  t.same(asked('mem=4G', ...user(LOW, HIGH), has(3)), [['mem=4G', 'yes']])
  // One line of the user-defined map may be missing.
  t.same(asked('mem=4G', ...user(LOW, HIGH)), [['mem=4G', 'unknown']])
  t.same(asked('mem=4G', ...user(LOW, HIGH), has(16)), [['mem=4G', 'no']])
  t.same(asked('mem=4G', has(16)), [['mem=4G', 'no']])
  // What another parameter has put there is not its fault.
  const back = ABOVE.replace('0000100000000', '0000200000000').replace(
    '43fffffff',
    '23fffffff',
  )
  t.same(asked('mem=4G memmap=1G@8G', ...user(LOW, HIGH, back), has(4)), [
    ['mem=4G', 'yes'],
    ['memmap=1G@8G', 'yes'],
  ])
  t.same(asked('mem=4G memmap=1G@8G', has(16)), [
    ['mem=4G', 'unknown'],
    ['memmap=1G@8G', 'unknown'],
  ])
  // Both have a border there.
  t.same(
    asked(
      'mem=2G memmap=1G$2G',
      ...user(LOW, HIGH.replace('bfffffff', '7fffffff')),
    ),
    [
      ['mem=2G', 'unknown'],
      ['memmap=1G$2G', 'unknown'],
    ],
  )
  t.same(asked('mem=2G', ...user(LOW, HIGH.replace('bfffffff', '7fffffff'))), [
    ['mem=2G', 'yes'],
  ])
  const cut = ABOVE.replace('43fffffff', '17fffffff')
  t.same(asked('memmap=64G%6G-1', ...user(LOW, HIGH, cut)), [
    ['memmap=64G%6G-1', 'yes'],
  ])
  t.same(asked('memmap=64G%4G-1', ...user(LOW, HIGH)), [
    ['memmap=64G%4G-1', 'unknown'],
  ])
  t.same(
    asked(
      'mem=6G',
      ...user(LOW, HIGH, ABOVE.replace('43fffffff', '1bfffffff')),
    ),
    [['mem=6G', 'partly']],
  )
  const reserved =
    'BIOS-e820: [mem 0x0000000140000000-0x000000017fffffff] reserved'
  t.same(
    asked('memmap=1G$5G memmap=1G$7G', ...user(LOW, HIGH, ABOVE, reserved)),
    [
      ['memmap=1G$5G', 'yes'],
      ['memmap=1G$7G', 'no'],
    ],
  )
  t.same(asked('mem=4G'), [['mem=4G', 'unknown']])
  t.same(
    asked(
      'memmap=1G!4G',
      'Early memory node ranges',
      '  node   0: [mem 0x0000000000001000-0x000000000009ffff]',
      '  node   0: [mem 0x0000000100000000-0x000000043fffffff]',
      'Zeroed struct page in unavailable ranges: 1 pages',
    ),
    [['memmap=1G!4G', 'no']],
  )
  // A filter may have taken the lines that would show it.
  t.same(
    asked(
      'memmap=1G!4G',
      'Early memory node ranges',
      '  node   0: [mem 0x0000000000001000-0x000000000009ffff]',
      'Zeroed struct page in unavailable ranges: 1 pages',
    ),
    [['memmap=1G!4G', 'unknown']],
  )
  t.same(asked('memmap=1G$24G', ...user(LOW, HIGH, ABOVE)), [
    ['memmap=1G$24G', 'unknown'],
  ])
  t.same(asked('memmap=x'), [['memmap=x', 'no']])
  const explanation = only(
    ...first(
      version('6.12.10'),
      'Command line: ro mem=4G',
      ...MAP,
      ...user(LOW, HIGH, ABOVE),
    ),
  )
  t.match(
    said(explanation),
    /^ {2}asked for +mem=4G had no effect: from 0x100000000 on .* equals the firmware's/m,
  )
})

t.test('a $ that GRUB ate cuts the memory, as the kernel does', async t => {
  const explanation = only(
    ...first(
      version('6.12.10'),
      'Command line: ro memmap=3Gx100000000',
      ...MAP,
    ),
  )
  t.same(regionsOf(explanation), [[M, 3 * G, 0]])
  t.match(
    explanation.advice.join('\n'),
    /'memmap=3Gx100000000' cuts off all memory from 0xc0000000 on: GRUB took/,
  )
})

const SRAT = [
  'ACPI: SRAT: Node 0 PXM 0 [mem 0x00000000-0x7fffffff]',
  'ACPI: SRAT: Node 1 PXM 1 [mem 0x100000000-0x43fffffff] hotplug',
]
const NODES = [
  'Early memory node ranges',
  '  node   0: [mem 0x0000000000001000-0x000000000009ffff]',
  '  node   0: [mem 0x0000000000100000-0x000000007ffdffff]',
  '  node   1: [mem 0x0000000100000000-0x000000043fffffff]',
  'Initmem setup node 0 [mem 0x0000000000001000-0x000000007ffdffff]',
]
const SOFT =
  'BIOS-e820: [mem 0x0000000500000000-0x00000005ffffffff] soft reserved'

t.test('other parameters of memory, by what the kernel says', async t => {
  for (const [word, lines, effect] of [
    ['numa=off', ['NUMA turned off'], 'yes'],
    ['numa=off', NODES, 'no'],
    ['numa=off', [], 'unknown'],
    ['numa=noacpi', SRAT, 'no'],
    ['numa=noacpi', [], 'unknown'],
    [
      'numa=fake=2',
      ['Faking node 0 at [mem 0x0000000000000000-0x000000021fffffff] (8704MB)'],
      'yes',
    ],
    [
      'numa=fake=2',
      ['NUMA: Warning: constructed meminfo invalid, disabling emulation'],
      'no',
    ],
    [
      'numa=fake=4',
      [
        'Faking node 0 at [mem 0x0000000000000000-0x000000021fffffff] (8704MB)',
        'numa_emulation: phys: 0 only got 3 of 4 nodes, failing',
      ],
      'no',
    ],
    ['numa=off numa=fake=2', NODES, 'unknown'],
    ['kernelcore=2G movable_node', ['  Node 1: 0x0000000100000000'], 'no'],
    [
      'movablecore=2G kernelcore=mirror',
      ['  Node 1: 0x0000000100000000'],
      'no',
    ],
    [
      'crashkernel=1G crashkernel=500M,low',
      ['crashkernel reservation failed - memory is in use.'],
      undefined,
    ],
    [
      'cma=64M hugetlb_cma=100G',
      ['cma: Failed to reserve 102400 MiB'],
      undefined,
    ],
    [
      'hugepages=64',
      [
        'HugeTLB: allocating 64 of page size 1.00 GiB failed.  Only allocated 0 hugepages.',
      ],
      'no',
    ],
    // Where there is no NUMA at all, one node is always made up.
    [
      'numa=fake=2',
      ['Faking a node at [mem 0x0000000000000000-0x000000043fffffff]'],
      'unknown',
    ],
    [
      'movable_node',
      [
        ...SRAT,
        'Movable zone start for each node',
        '  Node 1: 0x0000000100000000',
      ],
      'yes',
    ],
    ['movable_node', SRAT.slice(0, 1), 'unknown'],
    ['kernelcore=2G', ['  Node 1: 0x0000000100000000'], 'yes'],
    ['movablecore=2G', [], 'unknown'],
    [
      'kernelcore=mirror',
      ['The system has no mirror memory, ignore kernelcore=mirror.'],
      'no',
    ],
    ['efi=nosoftreserve', [SOFT], 'no'],
    ['efi=debug,nosoftreserve', [], 'unknown'],
    ['efi=debug', [SOFT], undefined],
    [
      'disable_mtrr_trim',
      [
        "WARNING: BIOS bug: CPU MTRRs don't cover all of memory, losing 255MB of RAM.",
      ],
      'no',
    ],
    ['crashkernel=256M', [], undefined],
    [
      'crashkernel=256M',
      [
        'crashkernel reserved: 0x0000000063000000 - 0x0000000073000000 (256 MB)',
      ],
      'yes',
    ],
    [
      'crashkernel=256M',
      [
        'Reserving 256MB of memory at 1584MB for crashkernel (System RAM: 15359MB)',
      ],
      'yes',
    ],
    [
      'crashkernel=256M@1M',
      ['crashkernel reservation failed - memory is in use.'],
      'no',
    ],
    ['crashkernel=x', ['crashkernel: memory value expected'], 'no'],
    [
      'hugepages=64',
      [
        'HugeTLB: allocating 64 of page size 1.00 GiB failed.  Only allocated 12 hugepages.',
      ],
      'partly',
    ],
    [
      'hugepages=64',
      ['HugeTLB: registered 1.00 GiB page size, pre-allocated 64 pages'],
      'yes',
    ],
    [
      'hugepages=64',
      ['HugeTLB: registered 1.00 GiB page size, pre-allocated 0 pages'],
      undefined,
    ],
    ['hugepagesz=3G', ['HugeTLB: unsupported hugepagesz=3G'], 'no'],
    ['cma=64G', ['cma: Failed to reserve 65536 MiB'], 'no'],
    [
      'memtest=4',
      [
        '  ffffffffffffffff bad mem addr 0x0000000140000000 - 0x0000000140001000 reserved',
      ],
      'yes',
    ],
    ['memtest=4', [], undefined],
  ] as const) {
    const { asked } = only(
      ...first(
        version('6.12.10'),
        `Command line: ro ${word}`,
        ...MAP,
        ...lines,
      ),
    )
    t.equal(asked[0]?.effect, effect, `${word} with ${lines.join(' | ')}`)
  }
})

t.test('what is the same for several is said once', async t => {
  const explanation = only(
    ...first(
      version('6.12.10'),
      'Command line: ro memmap=1G$5G memmap=1G$7G mem=60G numa=off',
      ...MAP,
      'NUMA turned off',
    ),
  )
  t.match(
    said(explanation),
    /3 memmap= and mem= may have taken effect or not: the log has no user-defined map .*\n +numa=off took effect$/m,
  )
})

t.test('mirrored memory cuts regions at its borders', async t => {
  const mirrored = [
    'Early memory node ranges',
    '  node   0: [mem 0x0000000000001000-0x000000000009ffff]',
    '  node   0: [mem 0x0000000000100000-0x000000007ffdffff]',
    '  node   0: [mem 0x0000000100000000-0x00000001ffffffff]',
    '  node   0: [mem 0x0000000200000000-0x000000043fffffff]',
    'Initmem setup node 0 [mem 0x0000000000001000-0x000000043fffffff]',
  ]
  const efi = 'efi: Memory: 6144M/16383M mirrored memory'
  const cut = told('kernelcore=mirror', efi, ...mirrored)
  t.same(
    regionsOf(cut).map(([start]) => start),
    [M, 4 * G, 8 * G],
  )
  t.match(said(cut), /6144 MiB are mirrored memory/)
  // Of other flags nothing is left when TDX looks.
  t.same(
    regionsOf(told('movable_node', ...mirrored)).map(([start]) => start),
    [M, 4 * G],
  )
  t.same(
    regionsOf(told('', efi, ...mirrored)).map(([start]) => start),
    [M, 4 * G],
  )
})
