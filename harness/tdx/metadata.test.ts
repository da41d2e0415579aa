import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { ModuleRig, input } from '../testing/module-rig.ts'
import { LEAF } from './leaves.ts'
import type { SeamcallOutcome } from './seamcall.ts'
import { OPERAND, status } from './status.ts'

t.test('SYS.RD answers what Linux reads, and walks the fields', async t => {
  const rig = new ModuleRig()
  await rig.init()
  const read = (rdx: bigint): Promise<SeamcallOutcome> =>
    rig.module.call(input(LEAF.SYS_RD, { rdx }))
  const fields: [id: bigint, value: bigint][] = [
    [0x9100000100000008n, 64n],
    [0x9100000100000009n, 16n],
    [0x9100000100000010n, 16n],
    [0x9000000100000000n, 32n],
    [0x9000000300000080n, BigInt(MIB)],
    [0x9000000300000100n, BigInt(4 * GIB - MIB)],
    [0x9000000300000081n, 0n],
  ]
  for (const [id, value] of fields)
    t.match(await read(id), { status: 0n, outputs: { r8: value } })
  t.match(await read(0x9100000100000077n), {
    status: status('METADATA_FIELD_ID_INCORRECT'),
  })
  let next = (1n << 64n) - 1n
  let count = -1
  do {
    const outcome = await read(next)
    next = (outcome.kind === 'completed' && outcome.outputs.rdx) || 0n
    count++
  } while (next !== (1n << 64n) - 1n)
  t.equal(count, 14 + 2 * 32, 'every field once')
})

t.test('SYS.INFO writes the structure and the CMRs', async t => {
  const rig = new ModuleRig()
  await rig.init()
  const good = { rcx: 0x400n, rdx: 1024n, r8: 0x800n, r9: 32n }
  t.equal(
    await rig.call(LEAF.SYS_INFO, { ...good, rcx: 0x401n }),
    status('OPERAND_INVALID', OPERAND.RCX),
  )
  t.equal(
    await rig.call(LEAF.SYS_INFO, { ...good, rdx: 1023n }),
    status('OPERAND_INVALID', OPERAND.RDX),
  )
  t.equal(
    await rig.call(LEAF.SYS_INFO, { ...good, r8: 0x801n }),
    status('OPERAND_INVALID', OPERAND.R8),
  )
  t.equal(
    await rig.call(LEAF.SYS_INFO, { ...good, r9: 31n }),
    status('OPERAND_INVALID', OPERAND.R9),
  )
  t.same(await rig.module.call(input(LEAF.SYS_INFO, good)), {
    kind: 'completed',
    status: 0n,
    outputs: { rdx: 1024n, r9: 32n },
  })
  const struct = Buffer.from(await rig.memory.read(0x400, 1024))
  t.equal(struct.readUInt32LE(4), 0x8086)
  t.equal(struct.readUInt16LE(32), 64)
  t.equal(struct.readUInt16LE(34), 16)
  const cmrs = Buffer.from(await rig.memory.read(0x800, 512))
  t.equal(cmrs.readBigUInt64LE(0), BigInt(MIB))
  t.equal(cmrs.readBigUInt64LE(8), BigInt(4 * GIB - MIB))
  t.equal(cmrs.readBigUInt64LE(24), 0n)
})
