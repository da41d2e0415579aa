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

t.test('what was asked, and whether it took effect', async t => {
  const user = (...texts: readonly string[]): string[] => [
    'user-defined physical RAM map:',
    ...texts.map(text => text.replace('BIOS-e820', 'user')),
    'last_pfn = 0x440000 max_arch_pfn = 0x400000000',
  ]
  const asked = (cmdline: string, ...more: readonly string[]) =>
    only(
      ...first(
        version('6.12.10'),
        `Command line: ro ${cmdline}`,
        ...MAP,
        ...more,
      ),
    ).asked.map(({ word, effect }) => [word, effect])
  t.same(asked('mem=4G', ...user(LOW, HIGH, ABOVE)), [['mem=4G', 'no']])
  t.same(asked('mem=4G', ...user(LOW, HIGH)), [['mem=4G', 'yes']])
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
