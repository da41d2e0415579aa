import { Faults, type Fault } from './fault.ts'
import { LEAF, leafOf } from './leaves.ts'
import type { PhysicalMemory } from './host-memory.ts'
import type { MetadataEntry } from './metadata.ts'
import { TdxModule } from './module.ts'
import type { Platform } from './platform.ts'
import {
  type SeamcallInput,
  type SeamcallOutcome,
  failed,
  faulted,
} from './seamcall.ts'
import { Seamldr } from './seamldr.ts'
import { SEAMLDR_STATUS } from './status.ts'
import type { TdmrInfo } from './tdmr-info.ts'

/**
 * What answers a SEAMCALL: the module, or with bit 63 of RAX the P-SEAMLDR,
 * which puts another module in its place.
 */
export class Seam {
  readonly #platform: Platform
  readonly #memory: PhysicalMemory
  readonly #faults: Faults
  readonly #seamldr: Seamldr
  #module: TdxModule

  constructor(platform: Platform, memory: PhysicalMemory) {
    this.#platform = platform
    this.#memory = memory
    this.#faults = new Faults(platform.faults)
    this.#seamldr = new Seamldr(platform, memory)
    this.#module = new TdxModule(platform, memory, this.#faults)
  }

  /** The TDMRs of the last TDH.SYS.CONFIG that could be read. */
  get offeredTdmrs(): readonly TdmrInfo[] | undefined {
    return this.#module.offeredTdmrs
  }

  /**
   * What TDH.SYS.RD answers on a logical processor that was initialised, until
   * something else is called; nothing where a fault may come between.
   */
  get metadataTable(): readonly MetadataEntry[] {
    return this.#platform.faults.length > 0 ? [] : this.#module.metadataTable
  }

  /** Nothing is left to be initialised, TDMRs neither. */
  get isReady(): boolean {
    return this.#module.isReady
  }

  /** Faults that no call ever met. */
  get unmetFaults(): readonly Fault[] {
    return this.#faults.unmet
  }

  async call(call: SeamcallInput): Promise<SeamcallOutcome> {
    if (call.rax >> 63n === 0n) return this.#module.call(call)
    const leaf = leafOf(call.rax)
    const fault = this.#faults.answer({
      leaf,
      cpu: call.cpu,
      package: this.#platform.packageOf[call.cpu] ?? 0,
      field: undefined,
    })
    if (fault !== undefined) return faulted(fault)
    if (leaf === LEAF.SEAMLDR_INFO) return this.#seamldr.info(call)
    if (leaf === LEAF.SEAMLDR_INSTALL)
      return this.#seamldr.install(call, this.#module.handsOver, module => {
        this.#module = new TdxModule(
          { ...this.#platform, module },
          this.#memory,
          this.#faults,
          this.#module.handOver(),
        )
      })
    return failed(SEAMLDR_STATUS.EBADCALL)
  }
}
