import t from 'tap'
import type { AllocationSite } from './allocation-sites.ts'
import type { Debugger, RegisterName, Registers } from './debugger.ts'
import { REGISTERS } from './debugger.ts'
import { Ledger } from './ledger.ts'
import type { ResetLoop } from './page-resets.ts'

const KMALLOC: AllocationSite = {
  does: 'allocate',
  kind: 'object',
  symbol: 'add_tdx_memblock',
  address: 0x1000n,
  target: 0x9000n,
  callee: 'kmalloc_trace',
  tail: false,
  size: 'rdx',
  unit: 1,
}
const CONTIG: AllocationSite = {
  does: 'allocate',
  kind: 'contiguous pages',
  symbol: 'tdmr_set_up_pamt',
  address: 0x1100n,
  target: 0x9100n,
  callee: 'alloc_contig_pages',
  tail: false,
  size: 'rdi',
  unit: 4096,
}
const KFREE: AllocationSite = {
  does: 'free',
  kind: 'object',
  symbol: 'free_tdx_memlist',
  address: 0x1200n,
  target: 0x9200n,
  callee: 'kfree',
  tail: false,
  size: 'none',
  unit: 1,
}
const FREE_RANGE: AllocationSite = {
  does: 'free',
  kind: 'contiguous pages',
  symbol: 'free_pamt',
  address: 0x1300n,
  target: 0x9300n,
  callee: 'free_contig_range',
  tail: true,
  size: 'rsi',
  unit: 4096,
}

const VMXON_PAGE: AllocationSite = {
  does: 'allocate',
  kind: 'VMXON region',
  symbol: 'x86_virt_init',
  address: 0x1400n,
  target: 0x9400n,
  callee: 'alloc_pages_node_noprof',
  tail: false,
  size: 'none',
  unit: 4096,
}
const FREE_PAGES: AllocationSite = {
  does: 'free',
  kind: 'VMXON region',
  symbol: 'x86_virt_init',
  address: 0x1500n,
  target: 0x9500n,
  callee: 'free_pages',
  tail: false,
  size: 'none',
  unit: 4096,
}

/** In front of it 64 bytes are written at a time to where RAX points. */
const LOOP: ResetLoop = {
  instruction: 2000n,
  destination: 'rax',
  end: 2016n,
  memset: 0x9900n,
}

const registers = (
  changes: Partial<Record<RegisterName, bigint>>,
): Registers => {
  const zero = Object.fromEntries(REGISTERS.map(name => [name, 0n])) as Record<
    RegisterName,
    bigint
  >
  return { ...zero, ...changes }
}

/** A guest whose vmemmap_base is the usual one; what is written is kept. */
const ledgerOf = (
  failing?: number,
): {
  ledger: Ledger
  written: Map<bigint, bigint>
  planted: string[]
} => {
  const written = new Map<bigint, bigint>()
  const base = Buffer.alloc(8)
  base.writeBigUInt64LE(0xffffea0000000000n)
  const planted: string[] = []
  const guest: Pick<
    Debugger,
    'readVirtual' | 'writeVirtual' | 'plant' | 'remove'
  > = {
    plant: address => {
      planted.push(`plant ${address}`)
      return Promise.resolve()
    },
    remove: address => {
      planted.push(`remove ${address}`)
      return Promise.resolve()
    },
    readVirtual: () => Promise.resolve(base),
    writeVirtual: (_, address, bytes) => {
      written.set(address, Buffer.from(bytes).readBigUInt64LE())
      return Promise.resolve()
    },
  }
  const ledger = new Ledger(guest as Debugger, {
    sites: [KMALLOC, CONTIG, KFREE, FREE_RANGE, VMXON_PAGE, FREE_PAGES],
    resets: { loops: [LOOP], pageOffsetBase: undefined },
    vmemmapBase: 0xffffffff82000000n,
    failing,
  })
  return { ledger, written, planted }
}

t.test('a page is given as a struct page and freed by its address', async t => {
  const { ledger } = ledgerOf()
  for (const rax of [0xffffea0000000000n + 64n * 7n, 0xffffea0000000000n]) {
    const call = registers({ rip: VMXON_PAGE.address, rsp: 0x8000n })
    await ledger.answer(0, call)
    await ledger.answer(0, { ...call, rax })
  }
  const rdi = 0xffff888000007000n
  await ledger.answer(0, registers({ rip: FREE_PAGES.address, rdi }))
  t.match(ledger.record, {
    allocations: [
      { kind: 'VMXON region', bytes: 4096, state: 'freed' },
      { bytes: 4096, state: 'held' },
    ],
    freedTwice: [],
  })
})

t.test('a call returns to itself, and then goes on', async t => {
  const { ledger, written } = ledgerOf()
  const call = registers({ rip: 0x1000n, rsp: 0x8000n, rdx: 40n })
  t.same(await ledger.answer(0, call), { rsp: 0x7ff8n, rip: 0x9000n })
  t.equal(written.get(0x7ff8n), 0x1000n, 'the address of the call itself')
  const back = registers({ rip: 0x1000n, rsp: 0x8000n, rax: 0xff00n })
  t.same(await ledger.answer(1, back), { rip: 0x1005n }, 'on another CPU too')
  t.match(ledger.record.allocations, [
    { number: 1, kind: 'object', bytes: 40, state: 'held' },
  ])
  t.equal(await ledger.answer(0, registers({ rip: 0x1005n })), undefined)
})

t.test('what is freed, and what is freed twice', async t => {
  const { ledger, written } = ledgerOf()
  await ledger.answer(0, registers({ rip: 0x1000n, rsp: 0x8000n, rdx: 40n }))
  await ledger.answer(
    0,
    registers({ rip: 0x1000n, rsp: 0x8000n, rax: 0xff00n }),
  )
  const free = registers({ rip: 0x1200n, rsp: 0x8000n, rdi: 0xff00n })
  t.same(await ledger.answer(0, free), { rsp: 0x7ff8n, rip: 0x9200n })
  t.equal(written.get(0x7ff8n), 0x1205n, 'it returns behind the call')
  t.equal(ledger.record.allocations[0]?.state, 'freed')
  t.same(ledger.record.freedTwice, [])
  await ledger.answer(0, free)
  t.same(ledger.record.freedTwice, ['object at 0xff00 in free_tdx_memlist'])
  await ledger.answer(0, registers({ rip: 0x1200n, rsp: 0x8000n, rdi: 0n }))
  t.equal(ledger.record.freedTwice.length, 1, 'kfree(NULL) does nothing')
})

t.test('pages are given as struct page, and freed by PFN', async t => {
  const { ledger } = ledgerOf()
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rdi: 3n }))
  const page = 0xffffea0000000000n + 64n * 0x1234n
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rax: page }))
  t.match(ledger.record.allocations, [{ bytes: 12288, state: 'held' }])
  const free = registers({ rip: 0x1300n, rsp: 0x8000n, rdi: 0x1234n, rsi: 3n })
  t.same(
    await ledger.answer(0, free),
    { rip: 0x9300n },
    'a jump pushes nothing',
  )
  t.equal(ledger.record.allocations[0]?.state, 'freed')
})

t.test('one allocation fails, and is never made', async t => {
  const { ledger, written } = ledgerOf(2)
  for (const rax of [0xff00n, 0xff40n]) {
    const call = registers({ rip: 0x1000n, rsp: 0x8000n, rdx: 40n })
    const answer = await ledger.answer(0, call)
    if (rax === 0xff40n) t.same(answer, { rax: 0n, rip: 0x1005n })
    else await ledger.answer(0, registers({ rip: 0x1000n, rsp: 0x8000n, rax }))
  }
  t.equal(written.size, 1)
  t.same(
    ledger.record.allocations.map(({ state }) => state),
    ['held', 'failed'],
  )
})

t.test('what the kernel itself could not give has failed', async t => {
  const { ledger } = ledgerOf()
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rdi: 3n }))
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rax: 0n }))
  t.match(ledger.record.allocations, [{ state: 'failed' }])
})

t.test('pages are converted: three stops, and memset() does it', async t => {
  const { ledger, written, planted } = ledgerOf()
  t.same(ledger.addresses.slice(-2), [2000n, 2016n])
  const call = registers({ rip: 0x1100n, rsp: 0x8000n, rdi: 4n })
  await ledger.answer(0, call)
  // Page frame 16: 64 bytes of a struct page each.
  const rax = 0xffffea0000000000n + 64n * 16n
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rax }))
  const start = 0xffff888000000000n + 16n * 4096n
  const begin = registers({ rip: 2000n, rsp: 0x7000n, rax: start })
  t.same(await ledger.answer(0, begin), {}, 'the loop goes on')
  const last = start + 4n * 4096n - 64n
  const behind = registers({ rip: 2016n, rsp: 0x7000n, rax: last, rcx: 5n })
  t.same(await ledger.answer(0, behind), {
    rip: 0x9900n,
    rsp: 0x7000n - 8n,
    rdi: start,
    rsi: 0n,
    rdx: 16384n,
  })
  t.equal(written.get(0x7000n - 8n), 2016n, 'it comes back to MFENCE')
  const back = registers({ rip: 2016n, rsp: 0x7000n, rax: 1n, rcx: 2n })
  t.same(
    await ledger.answer(1, back),
    { ...behind, rip: 2019n },
    'registers are as they were',
  )
  t.same(planted, ['remove 2000', 'plant 2000'])
  t.equal(ledger.record.allocations[0]?.resetBytes, 16384)
  t.same(
    await ledger.answer(0, registers({ rip: 2016n })),
    { rip: 2019n },
    'a loop over nothing',
  )
})

t.test('what is freed already, or is not a PAMT, is not converted', async t => {
  const { ledger } = ledgerOf()
  const convert = async (address: bigint): Promise<void> => {
    const rax = 0xffff888000000000n + address
    await ledger.answer(0, registers({ rip: 2000n, rax }))
    await ledger.answer(0, registers({ rip: 2016n, rax }))
    await ledger.answer(0, registers({ rip: 2016n, rax }))
  }
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rdi: 1n }))
  const rax = 0xffffea0000000000n + 64n * 16n
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rax }))
  await convert(17n * 4096n)
  await ledger.answer(0, registers({ rip: 0x1300n, rsp: 0x8000n, rdi: 16n }))
  await convert(16n * 4096n)
  t.equal(ledger.record.allocations[0]?.resetBytes, 0)
})

t.test('a compiler that leaves the address behind the last line', async t => {
  const { ledger } = ledgerOf()
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rdi: 1n }))
  const page = 0xffffea0000000000n + 64n * 16n
  await ledger.answer(0, registers({ rip: 0x1100n, rsp: 0x8000n, rax: page }))
  const start = 0xffff888000000000n + 16n * 4096n
  await ledger.answer(0, registers({ rip: 2000n, rax: start }))
  await ledger.answer(0, registers({ rip: 2016n, rax: start + 4096n }))
  t.equal(ledger.record.allocations[0]?.resetBytes, 4096)
})
