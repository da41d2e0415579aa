import { hex } from '../base/units.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { Seam } from '../tdx/seam.ts'
import type { Debugger } from './debugger.ts'
import type { SeamcallTrace } from './kernel-seen.ts'
import type { KernelSites } from './kernel-sites.ts'
import { MetadataStub } from './metadata-stub.ts'
import type { Site } from './sites.ts'
import { StopPads } from './stop-pads.ts'
import type { TextGap } from './text-gap.ts'

/**
 * Code that is put into the guest while TDX is initialised: it makes stops
 * cheap, and answers reads of metadata without any. It comes before the first
 * call, and is gone when the module is ready, or the kernel frees its memory.
 */
export class GuestCode {
  readonly #guest: Debugger
  readonly #seam: Seam
  readonly #pads: StopPads
  /** Undefined: the kernel calls in another way. */
  readonly #stub: MetadataStub | undefined

  /** @param gap that the kernel has */
  constructor(
    guest: Debugger,
    seam: Seam,
    gap: TextGap,
    { paddedSites }: Pick<KernelSites, 'paddedSites'>,
  ) {
    this.#guest = guest
    this.#seam = seam
    const pads = new StopPads(guest, gap, paddedSites)
    this.#pads = pads
    const padded = paddedSites.find(
      ({ site }) => site.symbol === '__seamcall_ret',
    )
    this.#stub = padded && new MetadataStub(guest, { gap, pads, padded })
  }

  /** Calls have no breakpoints. */
  get isInstalled(): boolean {
    return this.#pads.isInstalled
  }

  /** Nothing was called yet, and calls have breakpoints. */
  async enter(cpu: number): Promise<void> {
    await this.#pads.install(cpu)
  }

  /**
   * The guest has stopped. What other leaves do may change what is read, and the
   * kernel frees the memory: the code goes before that.
   *
   * @returns where the guest has stopped in the kernel's own code
   */
  async arrive(
    cpu: number,
    rip: bigint,
    trace: SeamcallTrace[],
  ): Promise<bigint> {
    const pads = this.#pads
    await this.note(cpu, trace)
    const site = pads.siteOf(rip)
    if (this.#stub?.isInstalled === true && (site || pads.endsAt(rip)))
      await this.#stub.uninstall(cpu)
    if (pads.endsAt(rip)) await pads.uninstall(cpu)
    return site?.address ?? rip
  }

  /**
   * A SEAMCALL was answered. After the first read of metadata many more will
   * come; all CPUs must have gone through TDH.SYS.LP.INIT, the module asks for
   * it. When the module is ready, calls are far between.
   */
  async answered(
    cpu: number,
    leaf: number,
    trace: readonly SeamcallTrace[],
  ): Promise<void> {
    if (!this.#pads.isInstalled) return
    if (this.#seam.isReady) {
      await this.#pads.uninstall(cpu)
      return
    }
    if (leaf !== LEAF.SYS_RD || trace.at(-1)?.status !== 0n) return
    const lps = trace.filter(
      call => call.leaf === LEAF.SYS_LP_INIT && call.status === 0n,
    )
    if (new Set(lps.map(call => call.cpu)).size === this.#guest.cpus)
      await this.#stub?.install(cpu, this.#seam.metadataTable)
  }

  /** @returns where a CPU is in the kernel's own code */
  inKernel(rip: bigint): bigint {
    return this.#pads.inKernel(rip)
  }

  /** Where the guest goes on behind a site. */
  behind(site: Site): bigint {
    return this.#pads.behind(site)
  }

  /** The module is told of the reads that were answered in its stead. */
  async note(cpu: number, trace: SeamcallTrace[]): Promise<void> {
    if (this.#stub?.isInstalled !== true) return
    const leaf = LEAF.SYS_RD
    for (const { field, cpu: by } of await this.#stub.collect(cpu)) {
      const operands = { rcx: 0n, rdx: field, r8: 0n }
      const call = { cpu: by, rax: BigInt(leaf), r9: 0n, ...operands }
      const outcome = await this.#seam.call(call)
      if (outcome.kind !== 'completed' || outcome.status !== 0n)
        throw new TypeError(`the read of ${hex(field)} was answered, and fails`)
      trace.push({ leaf, status: 0n, cpu: by, ...operands })
    }
  }

  /** Another kernel runs, from a fresh copy. */
  async abandon(): Promise<void> {
    this.#stub?.abandon()
    await this.#pads.abandon()
  }
}
