import t from 'tap'
import { GIB, MIB } from '../base/units.ts'
import { ModuleRig, input } from '../testing/module-rig.ts'
import { LEAF } from './leaves.ts'
import type { SeamcallOutcome } from './seamcall.ts'
import { OPERAND, status } from './status.ts'

/**
 * Of the 65 rows of the table of 1.5.01, 58 are one field and seven are arrays;
 * 1.5.05 has MAX_VCPUS_PER_TD as well.
 */
const FIELDS = 58 + 8 + 32 + 32 + 32 + 2 * 32 + 64 + 64 + 1

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

  t.equal(count, FIELDS, 'every field once')
})

t.test('ids that name more than a field, and the first one', async t => {
  const rig = new ModuleRig()
  await rig.init()
  const first = {
    status: status('METADATA_FIRST_FIELD_ID_IN_CONTEXT'),
    outputs: { rdx: 0x0000000200000000n },
  }
  const read = (rdx: bigint): Promise<SeamcallOutcome> =>
    rig.module.call(input(LEAF.SYS_RD, { rdx }))
  const none = (1n << 64n) - 1n
  t.match(await read(none), first)
  t.match(await read(none & ~(7n << 52n)), first, 'context bits do not count')
  const maxTdmrs = 0x9100000100000008n
  for (const bit of [24n, 31n, 34n, 37n, 38n, 46n, 47n, 49n, 55n, 62n])
    t.match(
      await read(maxTdmrs | (1n << bit)),
      { status: status('METADATA_FIELD_ID_INCORRECT'), outputs: { r8: 0n } },
      `bit ${bit}`,
    )
  for (const bit of [32n, 33n, 50n, 51n, 52n, 54n, 63n])
    t.match(await read(maxTdmrs ^ (1n << bit)), {
      status: 0n,
      outputs: { r8: 64n },
    })
})

t.test('fields that a module does not have', async t => {
  for (const [module, found] of [
    ['1.5.01', status('METADATA_FIELD_ID_INCORRECT')],
    ['1.5.05', 0n],
    ['1.5.34', 0n],
  ] as const) {
    const rig = new ModuleRig({ module })
    await rig.init()
    t.equal(
      await rig.call(LEAF.SYS_RD, { rdx: 0x9900000100000008n }),
      found,
      `MAX_VCPUS_PER_TD of ${module}`,
    )
  }
})

t.test('SYS.RDALL writes pages of fields until there are none', async t => {
  const rig = new ModuleRig()
  await rig.init()
  t.match(
    await rig.module.call(input(LEAF.SYS_RDALL, { rdx: 0x1001n })),
    { status: status('OPERAND_INVALID', OPERAND.RDX) },
    'the page is not aligned',
  )
  let next = (1n << 64n) - 1n
  let values = 0
  let outcome: SeamcallOutcome
  do {
    outcome = await rig.module.call(
      input(LEAF.SYS_RDALL, { rdx: 0x1000n, r8: next }),
    )
    if (outcome.kind !== 'completed') throw new Error('it must complete')
    const page = Buffer.from(await rig.memory.read(0x1000, 4096))
    const size = page.readUInt16LE(0)
    t.ok(size <= 4096)
    values += (size - 8 - 8 * page.readUInt16LE(2)) / 8
    t.equal(page.readBigUInt64LE(8) & 0xffffffn, 0n, 'begins with a field')
    next = outcome.outputs.r8!
    t.ok([0n, status('METADATA_LIST_OVERFLOW')].includes(outcome.status))
    if (values > 1000) break
  } while (next !== (1n << 64n) - 1n)
  t.equal(values, FIELDS, 'as many as SYS.RD goes through')
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
