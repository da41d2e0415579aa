import t from 'tap'
import { ModuleRig, input, platform } from '../testing/module-rig.ts'
import { alwaysFails } from './fault.ts'
import { LEAF } from './leaves.ts'
import { keyidPartitioning } from './platform.ts'
import { OPERAND, type StatusName, status } from './status.ts'

t.test('a whole initialisation', async t => {
  const rig = new ModuleRig()
  t.equal(rig.module.state, 'SYSINIT_PENDING')
  await rig.init()
  t.equal(rig.module.state, 'SYSINIT_DONE')
  await rig.writeTdmr()
  t.equal(await rig.config(), 0n)
  t.equal(rig.module.state, 'SYSCONFIG_DONE')
  t.equal(await rig.call(LEAF.SYS_TDMR_INIT), status('SYS_NOT_READY'))
  t.equal(await rig.call(LEAF.SYS_KEY_CONFIG), 0n)
  t.equal(await rig.call(LEAF.SYS_KEY_CONFIG), status('KEY_CONFIGURED'))
  t.equal(rig.module.state, 'SYSCONFIG_DONE', 'one package has no key yet')
  t.equal(await rig.call(LEAF.SYS_KEY_CONFIG, { cpu: 1 }), 0n)
  t.equal(rig.module.state, 'SYS_READY')
  const outcome = await rig.module.call(input(LEAF.SYS_TDMR_INIT))
  t.same(outcome, {
    kind: 'completed',
    status: 0n,
    outputs: { rdx: 4n << 30n },
  })
  t.equal(
    await rig.call(LEAF.SYS_TDMR_INIT),
    status('TDMR_ALREADY_INITIALIZED'),
  )
  t.equal(
    await rig.call(LEAF.SYS_TDMR_INIT, { rcx: 7n }),
    status('OPERAND_INVALID', OPERAND.RCX),
  )
  t.equal(await rig.call(LEAF.PHYMEM_PAGE_RDMD, { rcx: 0x5000n }), 0n)
  t.equal(
    await rig.call(LEAF.PHYMEM_PAGE_RDMD, { rcx: 8n << 30n }),
    status('OPERAND_ADDR_RANGE_ERROR', OPERAND.RCX),
  )
  t.equal(await rig.call(99), status('OPERAND_INVALID', OPERAND.RAX))
  t.equal(await rig.call(LEAF.SYS_SHUTDOWN), 0n)
  t.equal(await rig.call(LEAF.SYS_RD), status('SYS_SHUTDOWN'))
  t.equal(await rig.call(LEAF.SYS_LP_SHUTDOWN), 0n)
})

t.test('leaves out of order fail and change nothing', async t => {
  const rig = new ModuleRig()
  const expect = async (
    leaf: number,
    name: StatusName,
    change = {},
  ): Promise<void> => {
    t.equal(await rig.call(leaf, change), status(name), `leaf ${leaf}`)
  }
  await expect(LEAF.SYS_LP_INIT, 'SYS_LP_INIT_NOT_PENDING')
  await expect(LEAF.SYS_RD, 'SYS_LP_INIT_NOT_DONE')
  await expect(LEAF.SYS_INFO, 'SYS_LP_INIT_NOT_DONE')
  await expect(LEAF.SYS_CONFIG, 'SYS_CONFIG_NOT_PENDING')
  await expect(LEAF.SYS_KEY_CONFIG, 'SYS_KEY_CONFIG_NOT_PENDING')
  await expect(LEAF.SYS_SHUTDOWN, 'SYS_NOT_READY')
  await expect(99, 'SYS_NOT_READY')
  t.equal(
    await rig.call(LEAF.SYS_INIT, { rcx: 1n }),
    status('OPERAND_INVALID', OPERAND.RCX),
  )
  t.equal(rig.module.state, 'SYSINIT_PENDING')
  t.equal(await rig.call(LEAF.SYS_INIT), 0n)
  await expect(LEAF.SYS_INIT, 'SYS_INIT_NOT_PENDING')
  t.equal(await rig.call(LEAF.SYS_LP_INIT), 0n)
  await expect(LEAF.SYS_LP_INIT, 'SYS_LP_INIT_DONE')
  await expect(LEAF.SYS_CONFIG, 'SYS_CONFIG_NOT_PENDING')
  t.equal(
    await rig.call(LEAF.SYS_INIT, { rax: 0x010021n }),
    status('OPERAND_INVALID', OPERAND.RAX),
    'a version',
  )
  t.equal(
    await rig.call(LEAF.SYS_INIT, { rax: 1n << 63n }),
    status('OPERAND_INVALID', OPERAND.RAX),
  )
})

t.test('operands of SYS.CONFIG, in order', async t => {
  const rig = new ModuleRig()
  await rig.init()
  await rig.writeTdmr()
  const rcx = status('OPERAND_INVALID', OPERAND.RCX)
  const rdx = status('OPERAND_INVALID', OPERAND.RDX)
  const r8 = status('OPERAND_INVALID', OPERAND.R8)
  t.equal(
    await rig.config({ rcx: 0x2001n, rdx: 65n, r8: 0n }),
    rcx,
    'alignment first',
  )
  t.equal(await rig.config({ rcx: 32n << 46n }), rcx, 'a private KeyID')
  t.equal(await rig.config({ rcx: 1n << 52n }), rcx, 'no such address')
  t.equal(await rig.config({ rdx: 65n, r8: 0n }), rdx)
  t.equal(await rig.config({ rdx: 0n }), rdx)
  for (const keyid of [0n, 31n, 64n, 1n << 16n])
    t.equal(await rig.config({ r8: keyid }), r8, `KeyID ${keyid}`)
  const pointer = Buffer.alloc(8)
  pointer.writeBigUInt64LE(0x3001n)
  await rig.memory.write(0x2000, pointer)
  t.equal(await rig.config(), rcx, 'a TDMR_INFO that is not aligned')
  t.equal(rig.module.state, 'SYSINIT_DONE', 'all may be retried')
})

t.test('platforms that cannot start', async t => {
  t.equal(await new ModuleRig({ module: null }).call(LEAF.SYS_INIT), 'vmfail')
  t.equal(
    await new ModuleRig({ keyids: { mktme: 2000, tdx: 100 } }).call(
      LEAF.SYS_INIT,
    ),
    status('NUM_ACTIVATED_HKIDS_NOT_SUPPORTED', 0x800),
  )
  for (const cmrs of [
    [{ start: 1, end: 4096 }],
    [{ start: 4096, end: 2 ** 46 + 4096 }],
    [
      { start: 8192, end: 16384 },
      { start: 4096, end: 8192 },
    ],
    Array.from({ length: 33 }, (_, i) => ({
      start: i * 8192,
      end: i * 8192 + 4096,
    })),
  ])
    t.equal(
      await new ModuleRig({ cmrs }).call(LEAF.SYS_INIT),
      status('CMR_LIST_INVALID'),
    )
  t.equal(
    await new ModuleRig({
      cmrs: [
        { start: 4096, end: 4096 },
        { start: 4096, end: 8192 },
      ],
    }).call(LEAF.SYS_INIT),
    0n,
    'empty entries are skipped',
  )
  t.equal(
    await new ModuleRig({
      x2apic: false,
      cmrs: [{ start: 1, end: 2 }],
      keyids: { mktme: 2000, tdx: 100 },
    }).call(LEAF.SYS_INIT),
    status('INCORRECT_MSR_VALUE', 0xbd),
    'xAPIC comes before KeyIDs and CMRs',
  )
  const many = new ModuleRig({ packageOf: [0, 8] })
  await many.call(LEAF.SYS_INIT)
  t.equal(
    await many.call(LEAF.SYS_LP_INIT, { cpu: 1 }),
    status('INVALID_PKG_ID', 8),
  )
  t.equal(keyidPartitioning(platform), (32n << 32n) | 31n)
})

t.test('faults fail as often as they say, where they say', async t => {
  const wrong = status('RND_NO_ENTROPY')
  const rig = new ModuleRig({
    faults: [{ ...alwaysFails('SYS_LP_INIT', wrong), cpu: 1, times: 2 }],
  })
  await rig.call(LEAF.SYS_INIT)
  t.equal(rig.faults.unmet.length, 1)
  t.equal(await rig.call(LEAF.SYS_LP_INIT, { cpu: 0 }), 0n)
  t.equal(await rig.call(LEAF.SYS_LP_INIT, { cpu: 1 }), wrong)
  t.equal(rig.faults.unmet.length, 0)
  t.equal(await rig.call(LEAF.SYS_LP_INIT, { cpu: 1 }), wrong)
  t.equal(await rig.call(LEAF.SYS_LP_INIT, { cpu: 1 }), 0n)
})

t.test('outputs are zeroed before anything is checked', async t => {
  const rig = new ModuleRig()
  const refused = input(LEAF.SYS_INIT, { rcx: 1n, rdx: 2n, r8: 3n, r9: 4n })
  t.match(await rig.module.call(refused), {
    status: status('OPERAND_INVALID', OPERAND.RCX),
    outputs: { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n },
  })
  t.match(await rig.module.call(input(LEAF.SYS_LP_INIT)), {
    status: status('SYS_LP_INIT_NOT_PENDING'),
    outputs: { rcx: 0n, rdx: 0n, r8: 0n },
  })
})

t.test('the first TDMR is checked before the second is looked up', async t => {
  const rig = new ModuleRig()
  await rig.init()
  await rig.writeTdmr({ 0: 4096n })
  const pointers = Buffer.alloc(16)
  pointers.writeBigUInt64LE(0x3000n, 0)
  pointers.writeBigUInt64LE(0x3001n, 8)
  await rig.memory.write(0x2000, pointers)
  t.equal(await rig.config({ rdx: 2n }), status('INVALID_TDMR'))
})

t.test(
  'module 1.0 has no metadata leaves, and LP.SHUTDOWN ends it',
  async t => {
    const rig = new ModuleRig({ module: '1.0' })
    await rig.init()
    t.equal(await rig.call(LEAF.SYS_RD), 0xc000050500000000n, 'as logs show')
    t.equal(await rig.call(LEAF.SYS_RDALL), status('SYS_NOT_READY'))
    t.equal(
      await rig.call(LEAF.SYS_INFO, {
        rcx: 0x4000n,
        rdx: 1024n,
        r8: 0x5000n,
        r9: 32n,
      }),
      0n,
    )
    const info = Buffer.from(await rig.memory.read(0x4000, 20))
    t.same(
      [
        info.readUInt16LE(16),
        info.readUInt16LE(14),
        info.readUInt32LE(8),
        info[18],
      ],
      [1, 0, 20211209, 0],
      'version 1.0, without SYS.RD',
    )
    await rig.writeTdmr()
    t.equal(await rig.config(), 0n)
    for (const cpu of [0, 1])
      t.equal(await rig.call(LEAF.SYS_KEY_CONFIG, { cpu }), 0n)
    t.equal(
      await rig.call(LEAF.SYS_RD),
      status('OPERAND_INVALID', OPERAND.RAX),
      'an unknown leaf, once the module is ready',
    )
    t.equal(await rig.call(LEAF.SYS_LP_SHUTDOWN), 0n)
    t.equal(await rig.call(LEAF.SYS_TDMR_INIT), status('SYS_SHUTDOWN'))
    t.equal(await rig.call(LEAF.SYS_LP_SHUTDOWN, { cpu: 1 }), 0n, 'on each CPU')
    const newer = new ModuleRig()
    await newer.init()
    t.equal(await newer.call(LEAF.SYS_LP_SHUTDOWN), 0n)
    t.equal(newer.module.state, 'SYSINIT_DONE', '1.5 does nothing')
  },
)

t.test('SYS.DISABLE takes the module back to its beginning', async t => {
  const without = new ModuleRig()
  await without.init()
  await without.writeTdmr()
  await without.config()
  for (const cpu of [0, 1]) await without.call(LEAF.SYS_KEY_CONFIG, { cpu })
  t.equal(
    await without.call(LEAF.SYS_DISABLE),
    status('OPERAND_INVALID', OPERAND.RAX),
    'no public module has it',
  )
  t.equal(without.module.state, 'SYS_READY')
  t.equal(await without.call(LEAF.SYS_INIT), status('SYS_INIT_NOT_PENDING'))

  const rig = new ModuleRig({ disables: true })
  for (const time of ['once', 'again']) {
    await rig.init()
    await rig.writeTdmr()
    t.equal(await rig.config(), 0n, time)
    for (const cpu of [0, 1])
      t.equal(await rig.call(LEAF.SYS_KEY_CONFIG, { cpu }), 0n, time)
    t.equal(await rig.call(LEAF.SYS_TDMR_INIT), 0n, time)
    t.equal(await rig.call(LEAF.SYS_DISABLE), 0n)
    t.equal(rig.module.state, 'SYSINIT_PENDING')
    t.equal(rig.module.offeredTdmrs, undefined)
  }
})
