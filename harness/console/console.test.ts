import fc from 'fast-check'
import t from 'tap'
import { KEYIDS, factsOf, line } from '../testing/consoles.ts'
import { holds } from '../testing/property.ts'
import { patternOf } from './format.ts'
import { LineSplitter, MAX_LINE } from './lines.ts'
import { ConsoleReader } from './reader.ts'

const chunked = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const edges = [
    0,
    ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ]
  return edges.slice(1).map((edge, i) => bytes.subarray(edges[i], edge))
}

const linesOf = (chunks: readonly Buffer[]): string[] => {
  const splitter = new LineSplitter()
  const lines: string[] = []
  const take = (line: string): void => {
    lines.push(line)
  }
  for (const chunk of chunks) splitter.push(chunk, take)
  splitter.end(take)
  return lines
}

t.test('lines do not depend on chunks', async t => {
  t.same(linesOf([Buffer.from('a\r\nb'), Buffer.from('c\n\n')]), [
    'a',
    'bc',
    '',
  ])
  holds(
    t,
    'any bytes in any chunks',
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(fc.nat(200), { maxLength: 6 }),
      (bytes, cuts) => {
        const whole = Buffer.from(bytes)
        return (
          JSON.stringify(linesOf([whole])) ===
          JSON.stringify(linesOf(chunked(whole, cuts)))
        )
      },
    ),
  )
})

t.test('an endless line stays bounded and ends at its line feed', async t => {
  const part = Buffer.alloc(1000, 'x')
  const parts = Array.from({ length: 100 }, () => part)
  const [line, next, more] = linesOf([...parts, Buffer.from('\nnext\n')])
  t.equal(line?.length, MAX_LINE)
  t.equal(next, 'next')
  t.equal(more, undefined)
})

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
      'tdx: TDX memory regions: 1',
      'tdx: Kernel-checked-CMR : [0x100000, 0x7ffe0000)',
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
    tdx: {
      regions: [{ start: 0x100000, end: 0x7ffe0000, node: 0 }],
      regionCount: 1,
      cmrs: [{ start: 0x100000, end: 0x7ffe0000 }],
    },
    lines: 12,
  })
})

t.test('what init says about the steps of a boot', async t => {
  const facts = factsOf(
    line('tdxrig: step 0 plug') +
      line('tdxrig: step 1 online: blocks=8 refused=2 errno=-1') +
      line('tdxrig: step 2 online: blocks=8 refused=') +
      line('tdxrig: steps done'),
  )
  t.same(facts.guest.steps, [
    { step: 0, kind: 'plug' },
    { step: 1, kind: 'online', blocks: 8, refused: 2, errno: -1 },
  ])
  t.ok(facts.guest.done)
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
