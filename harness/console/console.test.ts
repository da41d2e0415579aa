import fc from 'fast-check'
import t from 'tap'
import { holds } from '../testing/property.ts'
import { MESSAGES, lookUp } from './catalogue.ts'
import { patternOf } from './format.ts'
import { LineSplitter, MAX_LINE } from './lines.ts'
import { ConsoleReader } from './reader.ts'
import { parseRecord } from './record.ts'

const factsOf = (text: string) => {
  const reader = new ConsoleReader()
  reader.push(Buffer.from(text))
  reader.end()
  return reader.facts()
}

const chunked = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const edges = [
    0,
    ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]
  return edges.slice(1).map((edge, i) => bytes.subarray(edges[i], edge))
}

t.test('lines do not depend on chunks', async t => {
  const splitter = new LineSplitter()
  t.same(splitter.push(Buffer.from('a\r\nb')), ['a\r'])
  t.same(splitter.push(Buffer.from('c\n\n')), ['bc', ''])
  t.same(splitter.end(), [])
  const lines = (chunks: readonly Buffer[]): string[] => {
    const splitter = new LineSplitter()
    return [...chunks.flatMap(chunk => splitter.push(chunk)), ...splitter.end()]
  }
  holds(
    t,
    'any bytes in any chunks',
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.nat(200), { maxLength: 6 }),
      (bytes, cuts) => {
        const whole = Buffer.from(bytes)
        return (
          JSON.stringify(lines([whole])) ===
          JSON.stringify(lines(chunked(whole, cuts)))
        )
      },
    ),
  )
})

t.test('an endless line stays bounded and ends at its line feed', async t => {
  const splitter = new LineSplitter()
  const part = Buffer.alloc(1000, 'x')
  for (let i = 0; i < 100; i++) t.same(splitter.push(part), [])
  const [line, next] = splitter.push(Buffer.from('\nnext\n'))
  t.equal(line?.length, MAX_LINE)
  t.equal(next, 'next')
})

t.test(
  'records lose stamps, callers, escapes and control characters',
  async t => {
    const cases: [raw: string, text: string, time: number | null][] = [
      ['[    0.123456] hello', 'hello', 0.123456],
      ['<6>[   12.000001] hello', 'hello', 12.000001],
      ['[    0.5000][    T1] hello\r', 'hello', 0.5],
      ['[    0.123456][   C0] hello', 'hello', 0.123456],
      ['\u001b[32m[    1.000000] hel\u0000lo\u001b[0m', 'hello', 1],
      ['hello', 'hello', null],
      ['', '', null],
    ]
    for (const [raw, text, time] of cases) {
      const record = parseRecord(raw, 3)
      t.same(record, { line: 3, text, time }, JSON.stringify(raw))
    }
    holds(
      t,
      'any text',
      fc.property(
        fc.string(),
        raw => parseRecord(raw, 1).text.length <= raw.length,
      ),
    )
  },
)

t.test('format strings become patterns', async t => {
  const values = (format: string, text: string): string[] | undefined =>
    patternOf(format).exec(text)?.slice(1)
  t.same(
    values(
      'SEAMCALL (0x%016llx) failed: 0x%016llx',
      'SEAMCALL (0x0000000000000021) failed: 0xc000090000000000',
    ),
    ['0000000000000021', 'c000090000000000'],
  )
  t.same(values('a %u b %d%% (%s)', 'a 1 b -2% (x)'), ['1', '-2', 'x'])
  t.equal(values('module initialized', 'module initialized, not'), undefined)
  t.throws(() => patternOf('%p'), { message: /no rule/ })
})

t.test('every message of the catalogue is found by its own text', async t => {
  for (const message of MESSAGES) {
    const text = message.format
      .replaceAll(/%0?\d*(?:ll|l)?x/g, 'ff')
      .replaceAll(/%(?:ll|l)?[ud]/g, '7')
    t.equal(lookUp(message.prefix + text)?.message, message, message.format)
    t.equal(
      message.arguments?.length ?? 0,
      message.arguments ? (message.format.match(/%/g) ?? []).length : 0,
    )
  }
  t.equal(lookUp('virt/tdx: something new'), undefined)
})

const line = (text: string, time = 0.5): string =>
  `[    ${time.toFixed(6)}] ${text}\r\n`
const KEYIDS = line('virt/tdx: BIOS enabled: private KeyID range [32, 64)')
const trigger = (text: string): string =>
  line(`tdxrig: trigger: cpus=2 ${text}`)

t.test('outcomes of TDX', async t => {
  const cases: [name: string, console: string, tdx: object][] = [
    [
      'nothing said',
      line('Linux version 6.12.0'),
      { outcome: 'absent', stage: null, errno: null },
    ],
    ['KeyIDs only', KEYIDS, { outcome: 'unfinished', keyids: [32, 64] }],
    [
      'success',
      KEYIDS +
        line('virt/tdx: 16428 KB allocated for PAMT') +
        line('virt/tdx: module initialized') +
        trigger('tdx_cpu_enable=0 tdx_enable=0'),
      { outcome: 'initialized', stage: 'done', errno: null, pamtKib: 16428 },
    ],
    [
      'too few KeyIDs',
      KEYIDS +
        line(
          'virt/tdx: initialization failed: too few private KeyIDs available.',
        ) +
        trigger('tdx_cpu_enable=-19 failed_cpu=0 tdx_enable=none'),
      { outcome: 'disabled', stage: 'checks', errno: null },
    ],
    [
      'no module',
      KEYIDS +
        line('virt/tdx: module not loaded') +
        trigger('tdx_cpu_enable=-19 failed_cpu=0 tdx_enable=none'),
      { outcome: 'failed', stage: 'sys-init', errno: -19 },
    ],
    [
      'no module, from the log alone',
      KEYIDS + line('virt/tdx: module not loaded'),
      { outcome: 'failed', stage: 'sys-init', errno: null },
    ],
    [
      'reserved areas',
      KEYIDS +
        line(
          'virt/tdx: initialization failed: TDMR [0x0, 0x80000000): reserved areas exhausted.',
        ) +
        line('virt/tdx: module initialization failed (-28)'),
      {
        outcome: 'failed',
        stage: 'reserved-areas',
        errno: -28,
        failedTdmr: { start: 0, end: 0x80000000 },
        message: /reserved areas exhausted/,
      },
    ],
    [
      'SYS.CONFIG',
      KEYIDS +
        line(
          'virt/tdx: SEAMCALL (0x000000000000002d) failed: 0xc0000a0200000001',
        ) +
        line('virt/tdx: module initialization failed (-5)'),
      {
        outcome: 'failed',
        stage: 'sys-config',
        errno: -5,
        failedSeamcalls: [{ leaf: 45, status: 0xc0000a0200000001n }],
      },
    ],
    [
      'PAMT allocation says nothing else',
      KEYIDS + line('virt/tdx: module initialization failed (-12)'),
      { outcome: 'failed', stage: 'pamt', errno: -12 },
    ],
    [
      'silent #UD',
      KEYIDS + trigger('tdx_cpu_enable=-13 failed_cpu=1 tdx_enable=none'),
      { outcome: 'failed', stage: 'sys-init', errno: -13 },
    ],
    [
      'a line nobody knows',
      KEYIDS + line('virt/tdx: bananas'),
      { outcome: 'unfinished', unknown: ['virt/tdx: bananas'] },
    ],
  ]
  for (const [name, console, tdx] of cases)
    t.match(factsOf(console).tdx, tdx, name)
})

t.test('the facts of a layout', async t => {
  const facts = factsOf(
    [
      'Linux version 6.12.117 (x) #1',
      'Command line: console=ttyS0 memmap=64M$0x140000000',
      'BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable',
      'BIOS-e820: [mem 0x0000000100000000-0x000000017fffffff] persistent (type 12)',
      'user-defined physical RAM map:',
      'user: [mem 0x0000000000000000-0x000000000009fbff] usable',
      'ACPI: SRAT: Node 1 PXM 1 [mem 0x120000000-0x17fffffff]',
      '  node   0: [mem 0x0000000000001000-0x000000000009efff]',
      'Kernel command line: other',
      'tdx: TDX memory region: [mem 0x00100000-0x7ffdffff] node 0',
    ]
      .map(text => line(text, 0))
      .join(''),
  )
  t.match(facts, {
    kernel: '6.12.117',
    cmdline: 'console=ttyS0 memmap=64M$0x140000000',
    firmwareMap: [
      { start: 0, end: 0x9fc00, type: 1 },
      { start: 0x100000000, end: 0x180000000, type: 12 },
    ],
    userMap: [{ start: 0, end: 0x9fc00, type: 1 }],
    srat: [{ start: 0x120000000, end: 0x180000000, node: 1 }],
    nodeRanges: [{ start: 0x1000, end: 0x9f000, node: 0 }],
    regions: [{ start: 0x100000, end: 0x7ffe0000, node: 0 }],
    lines: 10,
  })
})

t.test('a flood of failures is bounded', async t => {
  const failure = 'virt/tdx: SEAMCALL (0x21) failed: 0x1'
  const { failedSeamcalls, outcome } = factsOf(line(failure).repeat(50_000)).tdx
  t.equal(outcome, 'failed')
  t.ok(failedSeamcalls.length <= 100)
})

t.test('any console, in any chunks: the same facts, never a throw', async t => {
  const words = fc.constantFrom(
    KEYIDS,
    line('virt/tdx: module initialized'),
    line('BIOS-e820: [mem 0x0-0xfff] usable'),
    'Kernel panic - not syncing: x\n',
    '\r\n',
    '\u001b[31m',
    '\0',
    'virt/tdx: SEAMCALL (0x21) failed: 0x',
    'tdxrig: trigger: cpus=',
  )
  const text = fc
    .array(fc.oneof(words, fc.string()), { maxLength: 12 })
    .map(parts => parts.join(''))
  const show = (value: unknown): string =>
    JSON.stringify(value, (_, item: unknown) =>
      typeof item === 'bigint' ? `${item}n` : item,
    )
  holds(
    t,
    'facts are the same',
    fc.property(
      text,
      fc.array(fc.nat(500), { maxLength: 5 }),
      (console, cuts) => {
        const reader = new ConsoleReader()
        for (const chunk of chunked(Buffer.from(console), cuts))
          reader.push(chunk)
        reader.end()
        return show(reader.facts()) === show(factsOf(console))
      },
    ),
  )
})
