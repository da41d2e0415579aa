import t from 'tap'
import type { KernelImage } from '../kernel/elf.ts'
import type { Debugger } from './debugger.ts'
import { MetadataStub, type StubPlace, findStubPlace } from './metadata-stub.ts'
import type { Site } from './sites.ts'

const SITE: Site = {
  kind: 'seamcall',
  form: 'instruction',
  symbol: '__seamcall_ret',
  address: 0xffffffff8104732en,
  length: 4,
}
const PLACE: StubPlace = {
  site: SITE,
  onCarry: 0x19,
  start: 0xffffffff812a1000n,
  end: 0xffffffff81400000n,
  systemState: 0xffffffff81601000n,
  ends: [0xffffffff8103e980n, 0xffffffff81050000n],
}
const TABLE = [
  { id: 0x9100000100000008n, value: 64n, next: 0x9100000100000009n },
  { id: 0x9100000100000009n, value: 16n, next: 0xffffffffffffffffn },
]
/** SEAMCALL, the jump on carry, and what comes behind. */
const CODE = '660f01cf721948890e'

/** Memory by address, and where the guest would stop. */
const fakeGuest = (state: number) => {
  const bytes = new Map<bigint, number>()
  const stops = new Set([SITE.address])
  const put = (address: bigint, data: Uint8Array): void => {
    for (const [i, byte] of data.entries()) bytes.set(address + BigInt(i), byte)
  }
  const get = (address: bigint, length: number): Buffer =>
    Buffer.from(
      Array.from({ length }, (_, i) => bytes.get(address + BigInt(i)) ?? 0),
    )
  put(SITE.address, Buffer.from(CODE, 'hex'))
  put(PLACE.systemState, Uint8Array.of(state, 0, 0, 0))
  const guest = {
    plant: async (address: bigint) => void stops.add(address),
    remove: async (address: bigint) => void stops.delete(address),
    readVirtual: async (_: number, address: bigint, length: number) =>
      get(address, length),
    writeVirtual: async (_: number, address: bigint, data: Uint8Array) => {
      put(address, data)
    },
  } as Pick<Debugger, 'plant' | 'remove' | 'readVirtual' | 'writeVirtual'>
  return { guest: { ...guest, cpus: 4 } as Debugger, stops, put, get }
}

t.test('it comes and goes without a trace in the kernel', async t => {
  const { guest, stops, get } = fakeGuest(0)
  const stub = new MetadataStub(guest, PLACE)
  t.equal(await stub.install(0, TABLE), true)
  t.ok(stub.isInstalled)
  t.equal(
    get(SITE.address, 9).toString('hex'),
    // jmp 0xffffffff812a1000, and what it left of the jump on carry.
    'e9cd9c25001948890e',
  )
  t.same([...stops].sort(), [...PLACE.ends, stub.slow].sort())
  for (const end of PLACE.ends) t.ok(stub.endsAt(end))
  t.notOk(stub.endsAt(stub.slow))
  await stub.uninstall(0)
  t.equal(get(SITE.address, 9).toString('hex'), CODE)
  t.same([...stops], [SITE.address])
  t.notOk(stub.isInstalled)
})

t.test('a call that fails goes where the kernel wants it', async t => {
  const { guest, get } = fakeGuest(0)
  const stub = new MetadataStub(guest, PLACE)
  await stub.install(0, TABLE)
  const code = get(stub.slow, 15)
  t.equal(code.toString('hex', 0, 6), '660f01cf0f82')
  t.equal(stub.slow + 10n + BigInt(code.readInt32LE(6)), 0xffffffff8104734dn)
  t.equal(stub.slow + 15n + BigInt(code.readInt32LE(11)), stub.behind)
  t.equal(stub.behind, 0xffffffff81047334n)
})

t.test('the notes are read once', async t => {
  const { guest, put } = fakeGuest(1)
  const stub = new MetadataStub(guest, PLACE)
  await stub.install(0, TABLE)
  t.same(await stub.collect(0), [])
  const notes = Buffer.alloc(48)
  notes.writeBigUInt64LE(2n, 0)
  notes.writeBigUInt64LE(TABLE[0]!.id, 16)
  notes.writeBigUInt64LE(0x1003n, 24)
  notes.writeBigUInt64LE(TABLE[1]!.id, 32)
  notes.writeBigUInt64LE(0x0000n, 40)
  put(PLACE.start + 0x2000n, notes)
  t.same(await stub.collect(0), [
    { field: TABLE[0]!.id, cpu: 3 },
    { field: TABLE[1]!.id, cpu: 0 },
  ])
  t.same(await stub.collect(0), [])
})

t.test('notes that something else has written are refused', async t => {
  for (const [count, cpu] of [
    [251n, 0n],
    [0xffffffffffffffffn, 0n],
    [1n, 4n],
  ] as const) {
    const { guest, put } = fakeGuest(1)
    const stub = new MetadataStub(guest, PLACE)
    await stub.install(0, TABLE)
    const notes = Buffer.alloc(32)
    notes.writeBigUInt64LE(count, 0)
    notes.writeBigUInt64LE(cpu, 24)
    put(PLACE.start + 0x2000n, notes)
    await t.rejects(stub.collect(0), { code: 'METADATA' })
  }
})

t.test('the next kernel has nothing of it', async t => {
  const { guest, stops } = fakeGuest(0)
  const stub = new MetadataStub(guest, PLACE)
  await stub.install(0, TABLE)
  await stub.abandon()
  t.notOk(stub.isInstalled)
  t.same([...stops], [SITE.address])
})

t.test('memory that something lies in is left alone', async t => {
  const { guest, put, get } = fakeGuest(0)
  put(PLACE.start + 0x3008n, Uint8Array.of(7))
  t.equal(await new MetadataStub(guest, PLACE).install(0, TABLE), false)
  t.equal(get(SITE.address, 9).toString('hex'), CODE)
})

t.test('where it cannot be, nothing is changed', async t => {
  for (const [what, state, place, table] of [
    ['the kernel frees its memory', 2, PLACE, TABLE],
    ['it is up', 3, PLACE, TABLE],
    ['nothing is known', 0, PLACE, []],
    ['no room', 0, { ...PLACE, end: PLACE.start + 0x3040n }, TABLE],
  ] as const) {
    const { guest, stops, get } = fakeGuest(state)
    const stub = new MetadataStub(guest, place)
    t.equal(await stub.install(0, table), false, what)
    t.equal(get(SITE.address, 9).toString('hex'), CODE, what)
    t.same([...stops], [SITE.address], what)
  }
})

t.test('a kernel of another form has no place for it', async t => {
  const symbols: Record<string, bigint> = {
    _etext: 0xffffffff8129fe48n,
    __start_rodata: 0xffffffff81400000n,
    mark_rodata_ro: 0xffffffff8103e980n,
    panic: 0xffffffff81050000n,
    system_state: 0xffffffff81601000n,
  }
  const image = (without: string, behind = 0x72) =>
    ({
      symbol: (name: string) =>
        name !== without && name in symbols
          ? { name, address: symbols[name]!, size: 0n }
          : undefined,
      bytesAt: async () => Uint8Array.of(behind, 0x19),
    }) as unknown as KernelImage
  t.same(await findStubPlace(image('none'), [SITE]), PLACE)
  for (const name of Object.keys(symbols))
    t.equal(await findStubPlace(image(name), [SITE]), undefined, name)
  t.equal(await findStubPlace(image('none', 0x48), [SITE]), undefined)
  t.equal(await findStubPlace(image('none'), []), undefined)
})
