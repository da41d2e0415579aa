import { GIB, MIB } from '../base/units.ts'
import { Faults } from '../tdx/fault.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { PhysicalMemory } from '../tdx/host-memory.ts'
import { TdxModule } from '../tdx/module.ts'
import { DEFAULT_PROFILE } from '../tdx/profile.ts'
import type { Platform } from '../tdx/platform.ts'
import type { SeamcallInput, SeamcallOutcome } from '../tdx/seamcall.ts'

/** Two logical processors on two packages, 4 GiB of convertible memory. */
export const platform: Platform = {
  keyids: { mktme: 31, tdx: 32 },
  module: DEFAULT_PROFILE,
  x2apic: true,
  vmx: true,
  updatesLeft: 4,
  cmrs: [{ start: MIB, end: 4 * GIB }],
  lps: 2,
  packageOf: [0, 1],
  physicalBits: 46,
  faults: [],
  vmxonFails: undefined,
  tdmrInitBytes: undefined,
  metadata: {},
}

/** Sparse physical memory. */
const memory = (): PhysicalMemory & { bytes: Map<number, number> } => {
  const bytes = new Map<number, number>()
  return {
    bytes,
    read: async (address, length) =>
      Uint8Array.from({ length }, (_, i) => bytes.get(address + i) ?? 0),
    write: async (address, data) => {
      data.forEach((byte, i) => bytes.set(address + i, byte))
    },
  }
}

export const input = (
  leaf: number,
  change: Partial<SeamcallInput> = {},
): SeamcallInput => ({
  cpu: 0,
  rax: BigInt(leaf),
  rcx: 0n,
  rdx: 0n,
  r8: 0n,
  r9: 0n,
  ...change,
})

const statusOf = (outcome: SeamcallOutcome): bigint | 'vmfail' =>
  outcome.kind === 'completed' ? outcome.status : 'vmfail'

/** A module with memory, driven by leaf numbers. */
export class ModuleRig {
  readonly memory = memory()
  readonly faults: Faults
  readonly module: TdxModule

  constructor(change: Partial<Platform> = {}) {
    const used = { ...platform, ...change }
    this.faults = new Faults(used.faults)
    this.module = new TdxModule(used, this.memory, this.faults)
  }

  async call(
    leaf: number,
    change: Partial<SeamcallInput> = {},
  ): Promise<bigint | 'vmfail'> {
    return statusOf(await this.module.call(input(leaf, change)))
  }

  /** SYS.INIT and LP.INIT on both CPUs. */
  async init(): Promise<void> {
    await this.call(LEAF.SYS_INIT)
    for (const cpu of [0, 1]) await this.call(LEAF.SYS_LP_INIT, { cpu })
  }

  /** A TDMR over [0, 4 GiB) with its PAMTs at 1 GiB, and one hole. */
  async writeTdmr(change: Partial<Record<number, bigint>> = {}): Promise<void> {
    const pamt = 1n << 30n
    const fields: Record<number, bigint> = {
      0: 0n,
      8: 4n << 30n,
      16: pamt + 0x1010000n,
      24: 0x1000n,
      32: pamt + 0x1000000n,
      40: 0x10000n,
      48: pamt,
      56: 0x1000000n,
      64: 0n,
      72: BigInt(MIB),
      80: pamt,
      88: 0x1011000n,
      ...change,
    }
    const block = Buffer.alloc(512)
    for (const [offset, value] of Object.entries(fields))
      block.writeBigUInt64LE(value, Number(offset))
    const array = Buffer.alloc(8)
    array.writeBigUInt64LE(0x3000n)
    await this.memory.write(0x2000, array)
    await this.memory.write(0x3000, block)
  }

  config(change: Partial<SeamcallInput> = {}): Promise<bigint | 'vmfail'> {
    return this.call(LEAF.SYS_CONFIG, {
      rcx: 0x2000n,
      rdx: 1n,
      r8: 32n,
      ...change,
    })
  }
}
