import t from 'tap'
import { PAGE_SIZE, type Page, paused, withPages } from './migration-stream.ts'

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
const name = (text: string): Buffer =>
  Buffer.concat([Buffer.of(text.length), Buffer.from(text)])

const BLOCKS = [
  ['ram0', 0x20000000n, 0n],
  ['ram1', 0x10000000n, 0x20000000n],
  ['pc.bios', 0x40000n, 0xfffc0000n],
] as const

interface Form {
  readonly flags?: bigint
  readonly footer?: number
  readonly missing?: bigint
}

/** The beginning of a stream, as QEMU 7.2 writes it with x-ignore-shared. */
const beginning = ({ flags = 4n, footer = 2, missing = 0n }: Form = {}) => {
  const total = BLOCKS.reduce((sum, [, size]) => sum + size, missing)
  return Buffer.concat([
    Buffer.from('QEVM\0\0\0\x03'),
    Buffer.of(1),
    u32(2),
    name('ram'),
    u32(0),
    u32(4),
    u64(total | flags),
    ...BLOCKS.flatMap(([id, size, address]) => [
      name(id),
      u64(size),
      u64(address),
    ]),
    u64(0x10n),
    Buffer.of(0x7e),
    u32(footer),
  ])
}
const REST = Buffer.from('\x02what comes behind')

const SOME = Buffer.alloc(PAGE_SIZE, 7)
const OTHER = Buffer.alloc(PAGE_SIZE, 8)
const PAGES: Page[] = [
  { block: 'ram0', offset: 0x3000, content: SOME },
  { block: 'ram0', offset: 0x9000, content: undefined },
  { block: 'ram1', offset: 0, content: OTHER },
]

t.test('pages are a part of their own behind the beginning', t => {
  const stream = Buffer.concat([beginning(), REST])
  const part = Buffer.concat([
    Buffer.of(2),
    u32(2),
    // RAM_SAVE_FLAG_PAGE, and the piece it belongs to.
    u64(0x3008n),
    name('ram0'),
    SOME,
    // RAM_SAVE_FLAG_ZERO | RAM_SAVE_FLAG_CONTINUE: one byte instead of a page.
    u64(0x9022n),
    Buffer.of(0),
    u64(0x8n),
    name('ram1'),
    OTHER,
    u64(0x10n),
    Buffer.of(0x7e),
    u32(2),
  ])
  const expected = Buffer.concat([beginning(), part, REST])
  t.same(withPages(stream, PAGES), expected)
  t.end()
})

t.test('no pages are an empty part', t => {
  const stream = Buffer.concat([beginning(), REST])
  t.equal(withPages(stream, []).length, stream.length + 18)
  t.end()
})

t.test('a stream of another form is refused', t => {
  const page: Page = { block: 'pc.ram', offset: 0, content: SOME }
  for (const [what, stream, pages] of [
    ['nothing', Buffer.alloc(0), PAGES],
    ['no memory', Buffer.from('QEVM\0\0\0\x03and so on'), PAGES],
    ['cut off', beginning().subarray(0, 60), PAGES],
    ['other flags', Buffer.concat([beginning({ flags: 6n }), REST]), PAGES],
    [
      'another sum',
      Buffer.concat([beginning({ missing: 4096n }), REST]),
      PAGES,
    ],
    ['another footer', Buffer.concat([beginning({ footer: 3 }), REST]), PAGES],
    ['no such memory', Buffer.concat([beginning(), REST]), [page]],
  ] as const)
    t.throws(() => withPages(stream, pages), { code: 'SNAPSHOT' }, what)
  t.end()
})

t.test('the guest was not stopped by a debugger', t => {
  const state = (text: string): Buffer => {
    const field = Buffer.alloc(100)
    field.write(text)
    return Buffer.concat([
      name('globalstate'),
      u32(0),
      u32(1),
      u32(text.length + 1),
      field,
    ])
  }
  const stream = Buffer.concat([beginning(), state('debug')])
  t.same(paused(stream), Buffer.concat([beginning(), state('paused')]))
  t.throws(() => paused(beginning()), { code: 'SNAPSHOT' })
  t.throws(() => paused(state('running')), { code: 'SNAPSHOT' })
  t.end()
})
