import t from 'tap'
import { ModuleRig, input, platform } from '../testing/module-rig.ts'
import { alwaysFails } from './fault.ts'
import { LEAF, leafName, leafOf } from './leaves.ts'
import type { Platform } from './platform.ts'
import type { SeamcallOutcome } from './seamcall.ts'
import { Seam } from './seam.ts'
import { type UpdateImage, encodeImage } from './seamldr.ts'
import { SEAMLDR_STATUS, status } from './status.ts'

const BIT_63 = 1n << 63n
const INFO = BIT_63
const INSTALL = BIT_63 | 1n
const PAGE = 4096
const PARAMETERS = 0x10000
const IMAGE = 0x20000

/** A module that is ready, in front of its P-SEAMLDR. */
class SeamRig {
  readonly rig: ModuleRig
  readonly seam: Seam

  constructor(change: Partial<Platform> = {}) {
    this.rig = new ModuleRig()
    this.seam = new Seam({ ...platform, ...change }, this.rig.memory)
  }

  async call(
    rax: bigint | number,
    change: Partial<ReturnType<typeof input>> = {},
  ): Promise<SeamcallOutcome> {
    return this.seam.call({ ...input(0, change), rax: BigInt(rax) })
  }

  async status(
    rax: bigint | number,
    change: Partial<ReturnType<typeof input>> = {},
  ): Promise<bigint> {
    const outcome = await this.call(rax, change)
    return outcome.kind === 'completed' ? outcome.status : -1n
  }

  async init(): Promise<void> {
    await this.call(LEAF.SYS_INIT)
    for (const cpu of [0, 1]) await this.call(LEAF.SYS_LP_INIT, { cpu })
  }

  async ready(): Promise<void> {
    await this.init()
    await this.rig.writeTdmr()
    await this.call(LEAF.SYS_CONFIG, { rcx: 0x2000n, rdx: 1n, r8: 32n })
    for (const cpu of [0, 1]) await this.call(LEAF.SYS_KEY_CONFIG, { cpu })
    await this.call(LEAF.SYS_TDMR_INIT, { rcx: 0n })
  }

  /** The parameters of INSTALL, as the kernel makes them of an image. */
  async put(image: UpdateImage): Promise<void> {
    const bytes = encodeImage(image)
    await this.rig.memory.write(IMAGE, bytes)
    const parameters = Buffer.alloc(PAGE)
    parameters.writeUInt32LE(1, 4)
    parameters.writeBigUInt64LE(BigInt(IMAGE + PAGE), 8)
    const pages = bytes.length / PAGE - 2
    parameters.writeBigUInt64LE(BigInt(pages), 120)
    for (let i = 0; i < pages; i++)
      parameters.writeBigUInt64LE(BigInt(IMAGE + (2 + i) * PAGE), 128 + 8 * i)
    await this.rig.memory.write(PARAMETERS, parameters)
  }

  install(cpu: number): Promise<bigint> {
    return this.status(INSTALL, { cpu, rcx: BigInt(PARAMETERS) })
  }
}

const version = async (rig: SeamRig): Promise<bigint | undefined> => {
  const outcome = await rig.call(LEAF.SYS_RD, { rdx: 0x0800000100000005n })
  return outcome.kind === 'completed' ? outcome.outputs.r8 : undefined
}

t.test('a module takes the place of another one', async t => {
  const rig = new SeamRig()
  await rig.ready()
  t.equal(await version(rig), 5n)
  await rig.put({ module: '1.5.34', kind: 'good' })
  t.equal(
    await rig.install(0),
    SEAMLDR_STATUS.EBADHANDOFF,
    'the module still runs',
  )
  t.equal(await rig.status(LEAF.SYS_SHUTDOWN, { rcx: 0n }), 0n)
  t.equal(await rig.status(LEAF.SYS_RD), status('SYS_SHUTDOWN'))
  t.equal(await rig.install(0), 0n, 'not the last one')
  t.equal(await rig.install(0), SEAMLDR_STATUS.EBADCALL, 'a second time')
  t.equal(await rig.install(1), 0n, 'the last one')
  t.equal(await rig.status(LEAF.SYS_UPDATE), status('SYS_STATE_INCORRECT'))
  await rig.init()
  t.equal(await rig.status(LEAF.SYS_UPDATE), 0n)
  t.equal(await version(rig), 34n)
  t.equal(
    await rig.status(LEAF.PHYMEM_PAGE_RDMD, { rcx: 0x80000000n }),
    0n,
    'its TDMRs are those of the module before',
  )
  t.equal(
    await rig.status(LEAF.SYS_TDMR_INIT, { rcx: 0n }),
    status('TDMR_ALREADY_INITIALIZED'),
  )
  t.equal(
    await rig.status(LEAF.SYS_UPDATE),
    status('SYS_STATE_INCORRECT'),
    'it is ready',
  )
})

t.test('what the P-SEAMLDR refuses', async t => {
  const cases: [
    image: UpdateImage,
    change: Partial<Platform>,
    expected: bigint,
  ][] = [
    [{ module: '1.5.34', kind: 'bad-signature' }, {}, SEAMLDR_STATUS.EBADSIG],
    [{ module: '1.5.34', kind: 'bad-hash' }, {}, SEAMLDR_STATUS.EBADHASH],
    [
      { module: '1.5.34', kind: 'good' },
      { updatesLeft: 0 },
      SEAMLDR_STATUS.ENOMEM,
    ],
  ]
  for (const [image, change, expected] of cases) {
    const rig = new SeamRig(change)
    await rig.ready()
    await rig.put(image)
    await rig.call(LEAF.SYS_SHUTDOWN)
    t.equal(await rig.install(0), 0n)
    t.equal(await rig.install(1), expected, image.kind)
    t.equal(
      await rig.status(LEAF.SYS_INIT),
      status('SYS_SHUTDOWN'),
      'nothing is rolled back',
    )
  }
  const rig = new SeamRig()
  t.equal(
    await rig.status(INSTALL, { rcx: 1n }),
    SEAMLDR_STATUS.EBADPARAM,
    'an address that is not aligned',
  )
  t.equal(await rig.status(INFO, { rcx: 1n }), SEAMLDR_STATUS.EBADPARAM)
  t.equal(await rig.status(BIT_63 | 7n), SEAMLDR_STATUS.EBADCALL)
})

t.test('a module that cannot read what the older one left', async t => {
  const rig = new SeamRig({ module: '1.5.34' })
  await rig.ready()
  await rig.put({ module: '1.5.05', kind: 'good' })
  t.equal(
    await rig.status(LEAF.SYS_SHUTDOWN, { rcx: 3n }),
    status('OPERAND_INVALID', 1),
    'a version that it cannot write',
  )
  await rig.call(LEAF.SYS_SHUTDOWN, { rcx: 2n })
  for (const cpu of [0, 1]) await rig.install(cpu)
  await rig.init()
  t.equal(await rig.status(LEAF.SYS_UPDATE), status('SYS_INVALID_HANDOFF'))
})

t.test('INFO counts the updates that are left', async t => {
  const rig = new SeamRig({ updatesLeft: 3 })
  const left = async (): Promise<number> => {
    t.equal(await rig.status(INFO, { rcx: 0x1000n }), 0n)
    return Buffer.from(await rig.rig.memory.read(0x1000, 256)).readUInt32LE(28)
  }
  t.equal(await left(), 3)
  await rig.ready()
  await rig.put({ module: '1.5.05', kind: 'good' })
  await rig.call(LEAF.SYS_SHUTDOWN)
  for (const cpu of [0, 1]) await rig.install(cpu)
  t.equal(await left(), 2)
})

t.test('leaves of the P-SEAMLDR have numbers of their own', async t => {
  t.equal(leafOf(INSTALL), LEAF.SEAMLDR_INSTALL)
  t.equal(leafName(leafOf(INFO)), 'SEAMLDR.INFO')
  t.equal(leafOf(33n), LEAF.SYS_INIT)
  const rig = new SeamRig({
    faults: [
      {
        ...alwaysFails('SEAMLDR_INFO', SEAMLDR_STATUS.ENOENTROPY),
        cpu: 1,
        times: 1,
      },
    ],
  })
  t.equal(await rig.status(INFO, { cpu: 0, rcx: 0x1000n }), 0n)
  t.equal(
    await rig.status(INFO, { cpu: 1, rcx: 0x1000n }),
    SEAMLDR_STATUS.ENOENTROPY,
  )
  t.same(rig.seam.unmetFaults, [])
})
