import { LEAF, type LeafName } from '../tdx/leaves.ts'
import type { Debugger } from './debugger.ts'
import type { KernelNotes } from './kernel-seen.ts'
import type { KernelSites } from './kernel-sites.ts'
import { readMemlist } from './memlist.ts'

/** What the list of TDX memory regions is read with. */
export interface RegionListOptions {
  readonly guest: Debugger
  readonly kernel: Pick<KernelSites, 'memlist' | 'listReady' | 'sites'>
  /** Leaves that kernels of its series call before they need the list. */
  readonly leavesBeforeList: ReadonlySet<LeafName>
}

/** Reads the kernel's list of TDX memory regions when it is complete. */
export class RegionList {
  readonly #guest: Debugger
  readonly #kernel: RegionListOptions['kernel']
  /** Numbers of leaves that may be called before there is a list. */
  readonly #leavesBefore: ReadonlySet<number>
  /** Where the guest stops when the list is complete, while it may come there. */
  #awaited: bigint | undefined
  /** Sites that have no breakpoint for that time. */
  #lent: readonly bigint[] = []

  constructor({ guest, kernel, leavesBeforeList }: RegionListOptions) {
    this.#guest = guest
    this.#kernel = kernel
    this.#leavesBefore = new Set([...leavesBeforeList].map(name => LEAF[name]))
  }

  /** Before smp_init() some kernels have one, and others have nothing yet. */
  async readAtBoot(cpu: number, seen: KernelNotes): Promise<void> {
    const { memlist } = this.#kernel
    if (memlist !== undefined)
      seen.regionsAtBoot = await readMemlist(this.#guest, cpu, memlist)
  }

  /**
   * A leaf is called. The list is complete at the latest by SYS.CONFIG: some
   * kernels read metadata before they build it. It may be gone again after a
   * failure.
   *
   * @param hasBreakpoints calls stop the guest by breakpoints
   */
  async onCall(
    cpu: number,
    leaf: number,
    { seen, hasBreakpoints }: { seen: KernelNotes; hasBreakpoints: boolean },
  ): Promise<void> {
    const mayBeMissing = this.#leavesBefore.has(leaf)
    if (!seen.regions?.length && !mayBeMissing) await this.#read(cpu, seen)
    const reads = leaf === LEAF.SYS_RD && mayBeMissing
    if (!reads) await this.endWait()
    else if (!seen.regions) await this.#wait(hasBreakpoints)
  }

  /** @returns whether the guest has stopped because the list is complete */
  async arrive(cpu: number, rip: bigint, seen: KernelNotes): Promise<boolean> {
    if (rip !== this.#awaited) return false
    await this.endWait()
    await this.#read(cpu, seen)
    return true
  }

  async #read(cpu: number, seen: KernelNotes): Promise<void> {
    const { memlist } = this.#kernel
    if (memlist !== undefined)
      seen.regions = await readMemlist(this.#guest, cpu, memlist)
  }

  /**
   * Kernels that read metadata first free the list when they cannot cover it:
   * it is looked at as soon as it is complete. VMXON gives its breakpoint for
   * that time; every CPU has gone through it.
   */
  async #wait(hasBreakpoints: boolean): Promise<void> {
    const { listReady, sites } = this.#kernel
    if (this.#awaited !== undefined || listReady === undefined) return
    const vmxon = sites.filter(({ kind }) => kind === 'vmxon')
    this.#lent = hasBreakpoints ? vmxon.map(({ address }) => address) : []
    await Promise.all(this.#lent.map(address => this.#guest.remove(address)))
    await this.#guest.plant(listReady)
    this.#awaited = listReady
  }

  /** Nothing is waited for any more. */
  async endWait(): Promise<void> {
    if (this.#awaited === undefined) return
    await this.#guest.remove(this.#awaited)
    this.#awaited = undefined
    await Promise.all(this.#lent.map(address => this.#guest.plant(address)))
  }
}
