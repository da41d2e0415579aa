import t from 'tap'
import type { KernelImage } from '../kernel/elf.ts'
import { StoppedGuest } from '../testing/stopped-guest.ts'
import type { Site } from './sites.ts'
import { StopPads, findPaddedSites } from './stop-pads.ts'
import { type TextGap, findTextGap } from './text-gap.ts'

const SEAMCALL: Site = {
  kind: 'seamcall',
  form: 'instruction',
  symbol: '__seamcall',
  address: 0xffffffff810472den,
  length: 4,
}
const VMXON: Site = {
  kind: 'vmxon',
  form: 'instruction',
  symbol: 'x86_vmx_enable_virtualization_cpu',
  address: 0xffffffff8104968cn,
  length: 5,
}
const GAP: TextGap = {
  start: 0xffffffff812a1000n,
  end: 0xffffffff81400000n,
  systemState: 0xffffffff81601000n,
  ends: [0xffffffff8103e980n, 0xffffffff81050000n],
}
/** SEAMCALL, the jump on carry, and what comes behind. */
const SEAMCALL_CODE = '660f01cf721948890e'
/** VMXON of a local variable, and what comes behind. */
const VMXON_CODE = 'f30fc775f8eb05'
const CARRY = 1n

const image = (
  symbols: Readonly<Record<string, bigint>>,
  behind: readonly number[] = [0x72, 0x19],
): KernelImage =>
  ({
    symbol: (name: string) =>
      name in symbols ? { name, address: symbols[name]!, size: 0n } : undefined,
    bytesAt: async () => Uint8Array.from(behind),
  }) as unknown as KernelImage

const rig = async (state = 0, gap = GAP) => {
  const guest = new StoppedGuest(4)
  guest.put(SEAMCALL.address, Buffer.from(SEAMCALL_CODE, 'hex'))
  guest.put(VMXON.address, Buffer.from(VMXON_CODE, 'hex'))
  guest.put(GAP.systemState, Uint8Array.of(state, 0, 0, 0))
  for (const { address } of [SEAMCALL, VMXON]) guest.stops.add(address)
  const sites = await findPaddedSites(image({}), [SEAMCALL, VMXON])
  return { guest, pads: new StopPads(guest.debugger, gap, sites) }
}

const code = (guest: StoppedGuest): string[] => [
  guest.get(SEAMCALL.address, 9).toString('hex'),
  guest.get(VMXON.address, 7).toString('hex'),
]
const UNTOUCHED = [SEAMCALL_CODE, VMXON_CODE]

t.test('they come and go without a trace in the kernel', async t => {
  const { guest, pads } = await rig()
  t.equal(await pads.install(0), true)
  t.same(code(guest), [
    // jmp 0xffffffff812a1000, and what it left of the jump on carry.
    'e91d9d25001948890e',
    // jmp 0xffffffff812a1020
    'e98f792500eb05',
  ])
  t.same(guest.watched, new Set([GAP.start + 0x1000n]))
  t.same(guest.stops, new Set(GAP.ends))
  for (const end of GAP.ends) t.ok(pads.endsAt(end))
  t.notOk(pads.endsAt(SEAMCALL.address))
  t.equal(await pads.install(0), false, 'they are there already')
  await pads.uninstall(0)
  t.same(code(guest), UNTOUCHED)
  t.same(guest.watched, new Set())
  t.same(guest.stops, new Set([SEAMCALL.address, VMXON.address]))
  t.notOk(pads.isInstalled)
  t.equal(pads.behind(SEAMCALL), SEAMCALL.address + 4n)
})

t.test('a pad writes what is watched, waits, and goes on', async t => {
  const { guest, pads } = await rig()
  await pads.install(0)
  const pad = pads.padAt(SEAMCALL)!
  t.equal(pad, GAP.start)
  const bytes = guest.get(pad, 20)
  t.equal(bytes.toString('hex', 0, 2), 'c605', 'movb imm8, disp(%rip)')
  t.equal(pad + 7n + BigInt(bytes.readInt32LE(2)), GAP.start + 0x1000n)
  t.equal(bytes.toString('hex', 7, 9), 'ebf7', 'jmp to the write')
  t.equal(bytes.toString('hex', 9, 11), '0f82', 'jc')
  t.equal(pad + 15n + BigInt(bytes.readInt32LE(11)), 0xffffffff810472fdn)
  t.equal(bytes[15], 0xe9)
  t.equal(pad + 20n + BigInt(bytes.readInt32LE(16)), SEAMCALL.address + 6n)
  t.equal(pads.siteOf(pad + 7n), SEAMCALL)
  t.equal(pads.siteOf(pads.padAt(VMXON)! + 7n), VMXON)
  t.equal(pads.siteOf(pad), undefined)
  t.equal(pads.behind(SEAMCALL), pad + 9n)
})

t.test('no CPU is left in pads that go', async t => {
  for (const [offset, eflags, to] of [
    [0n, 0n, SEAMCALL.address],
    [7n, CARRY, SEAMCALL.address],
    [9n, CARRY, 0xffffffff810472fdn],
    [9n, 0n, SEAMCALL.address + 6n],
    [15n, CARRY, SEAMCALL.address + 6n],
  ] as const) {
    const { guest, pads } = await rig()
    await pads.install(0)
    const rip = pads.padAt(SEAMCALL)! + offset
    guest.registers[3] = { rip, eflags }
    guest.registers[1] = { rip: 0x1234n, eflags }
    await pads.uninstall(0)
    t.equal(guest.registers[3].rip, to, `${offset} bytes into it`)
    t.equal(guest.registers[1].rip, 0x1234n)
  }
})

t.test('a CPU in a pad is at its site', async t => {
  const { pads } = await rig()
  const pad = pads.padAt(VMXON)!
  t.equal(pads.inKernel(pad + 7n), pad + 7n, 'there are none')
  await pads.install(0)
  for (const offset of [0n, 7n, 9n, 31n])
    t.equal(pads.inKernel(pad + offset), VMXON.address)
  t.equal(pads.inKernel(pad + 32n), pad + 32n)
})

t.test('a task that comes back to a pad goes to its site', async t => {
  const { guest, pads } = await rig()
  await pads.install(0)
  const pad = pads.padAt(SEAMCALL)!
  await pads.uninstall(0)
  const code = guest.get(pad, 9)
  t.equal(code[0], 0xe9)
  t.equal(pad + 5n + BigInt(code.readInt32LE(1)), SEAMCALL.address)
  t.equal(code.toString('hex', 7), 'ebf7', 'from where it waits, too')
})

t.test('a gap that cannot be read is none', async t => {
  const { guest, pads } = await rig()
  const { debugger: whole } = guest
  const gone = new StopPads(
    {
      ...whole,
      readVirtual: (cpu, address, length) =>
        address < GAP.start || address >= GAP.end
          ? whole.readVirtual(cpu, address, length)
          : Promise.reject(new Error('E14')),
    },
    GAP,
    await findPaddedSites(image({}), [SEAMCALL, VMXON]),
  )
  t.equal(await gone.install(0), false)
  t.same(code(guest), UNTOUCHED)
  t.equal(await pads.install(0), true)
})

t.test('the next kernel has nothing of them', async t => {
  const { guest, pads } = await rig()
  await pads.install(0)
  await pads.abandon()
  t.notOk(pads.isInstalled)
  t.same(guest.watched, new Set())
  t.same(guest.stops, new Set([SEAMCALL.address, VMXON.address]))
})

t.test('where they cannot be, nothing is changed', async t => {
  for (const [what, state, gap] of [
    ['the kernel frees its memory', 2, GAP],
    ['it is up', 3, GAP],
    ['no room', 0, { ...GAP, end: GAP.start + 0x1fffn }],
  ] as const) {
    const { guest, pads } = await rig(state, gap)
    t.equal(await pads.install(0), false, what)
    t.same(code(guest), UNTOUCHED, what)
    t.same(guest.stops, new Set([SEAMCALL.address, VMXON.address]), what)
  }
  const { guest, pads } = await rig()
  guest.put(GAP.start + 0x1008n, Uint8Array.of(7))
  t.equal(await pads.install(0), false, 'something lies there')
  t.same(code(guest), UNTOUCHED)
  const none = new StopPads(guest.debugger, GAP, [])
  t.equal(await none.install(0), false, 'no site is of this form')
})

t.test('sites of another form have no pads', async t => {
  const short = { ...VMXON, length: 4 }
  const msr = { ...SEAMCALL, kind: 'keyid-msr' } as const
  t.same(await findPaddedSites(image({}), [short, msr]), [])
  t.same(await findPaddedSites(image({}, [0x48, 0x89]), [SEAMCALL]), [])
})

t.test('the gap between text and rodata', t => {
  const symbols = {
    _etext: 0xffffffff8129fe48n,
    __start_rodata: 0xffffffff81400000n,
    mark_rodata_ro: 0xffffffff8103e980n,
    panic: 0xffffffff81050000n,
    system_state: 0xffffffff81601000n,
  }
  t.same(findTextGap(image(symbols)), GAP)
  for (const name of Object.keys(symbols)) {
    const others = Object.entries(symbols).filter(([other]) => other !== name)
    const without = image(Object.fromEntries(others))
    t.equal(findTextGap(without), undefined, name)
  }
  const full = { ...symbols, __start_rodata: 0xffffffff812a0000n }
  t.equal(findTextGap(image(full)), undefined)
  t.end()
})
