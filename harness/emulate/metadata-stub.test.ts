import t from 'tap'
import { StoppedGuest } from '../testing/stopped-guest.ts'
import { MetadataStub } from './metadata-stub.ts'
import type { Site } from './sites.ts'
import { type PaddedSite, StopPads } from './stop-pads.ts'
import type { TextGap } from './text-gap.ts'

const SITE: Site = {
  kind: 'seamcall',
  form: 'instruction',
  symbol: '__seamcall_ret',
  address: 0xffffffff8104732en,
  length: 4,
}
const PADDED: PaddedSite = {
  site: SITE,
  behind: SITE.address + 6n,
  onCarry: SITE.address + 0x1fn,
}
const GAP: TextGap = {
  start: 0xffffffff812a1000n,
  end: 0xffffffff81400000n,
  systemState: 0xffffffff81601000n,
  ends: [0xffffffff8103e980n, 0xffffffff81050000n],
}
/** Behind the pads and what they watch. */
const START = GAP.start + 0x2000n
const NOTES = START + 0x1000n
const TABLE = [
  { id: 0x9100000100000008n, value: 64n, next: 0x9100000100000009n },
  { id: 0x9100000100000009n, value: 16n, next: 0xffffffffffffffffn },
]
/** What the pads make of SEAMCALL and the jump on carry. */
const TO_PAD = 'e9cd9c2500'

const rig = async (gap = GAP) => {
  const guest = new StoppedGuest(4)
  guest.put(SITE.address, Buffer.from('660f01cf721948890e', 'hex'))
  guest.stops.add(SITE.address)
  const pads = new StopPads(guest.debugger, gap, [PADDED])
  await pads.install(0)
  const place = { gap, pads, padded: PADDED }
  return { guest, stub: new MetadataStub(guest.debugger, place) }
}

const jump = (guest: StoppedGuest): string =>
  guest.get(SITE.address, 5).toString('hex')

t.test('it stands before the pad, and goes again', async t => {
  const { guest, stub } = await rig()
  t.equal(jump(guest), TO_PAD)
  t.equal(await stub.install(0, TABLE), true)
  t.ok(stub.isInstalled)
  // jmp 0xffffffff812a3000
  t.equal(jump(guest), 'e9cdbc2500')
  await stub.uninstall(0)
  t.equal(jump(guest), TO_PAD)
  t.notOk(stub.isInstalled)
  t.equal(await stub.install(0, TABLE), true, 'where it was before')
  stub.abandon()
  t.notOk(stub.isInstalled)
  t.equal(await stub.install(0, TABLE), false, 'something lies there')
})

t.test('a call that it has no room to note stops at the pad', async t => {
  const { guest, stub } = await rig()
  await stub.install(0, TABLE)
  const code = guest.get(START + 0x100n, 10)
  t.equal(code.toString('hex', 0, 6), 'b822000000e9', 'with its leaf')
  t.equal(START + 0x10an + BigInt(code.readInt32LE(6)), GAP.start)
})

t.test('the notes are read once', async t => {
  const { guest, stub } = await rig()
  await stub.install(0, TABLE)
  t.same(await stub.collect(0), [])
  const notes = Buffer.alloc(48)
  notes.writeBigUInt64LE(2n, 0)
  notes.writeBigUInt64LE(TABLE[0]!.id, 16)
  notes.writeBigUInt64LE(0x1003n, 24)
  notes.writeBigUInt64LE(TABLE[1]!.id, 32)
  notes.writeBigUInt64LE(0x0000n, 40)
  guest.put(NOTES, notes)
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
    const { guest, stub } = await rig()
    await stub.install(0, TABLE)
    const notes = Buffer.alloc(32)
    notes.writeBigUInt64LE(count, 0)
    notes.writeBigUInt64LE(cpu, 24)
    guest.put(NOTES, notes)
    await t.rejects(stub.collect(0), { code: 'METADATA' })
  }
})

t.test('where it cannot be, nothing is changed', async t => {
  const { guest, stub } = await rig()
  t.equal(await stub.install(0, []), false, 'nothing is known')
  guest.put(START + 0x2008n, Uint8Array.of(7))
  t.equal(await stub.install(0, TABLE), false, 'something lies there')
  guest.put(START + 0x2008n, Uint8Array.of(0))
  guest.put(GAP.systemState, Uint8Array.of(2))
  t.equal(await stub.install(0, TABLE), false, 'the kernel frees its memory')
  t.equal(jump(guest), TO_PAD)
  const small = await rig({ ...GAP, end: START + 0x2040n })
  t.equal(await small.stub.install(0, TABLE), false, 'no room')
})
