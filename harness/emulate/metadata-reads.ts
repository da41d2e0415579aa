import { hex } from '../base/units.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { Seam } from '../tdx/seam.ts'
import type { Debugger } from './debugger.ts'
import type { SeamcallTrace } from './kernel-seen.ts'
import type { KernelSites } from './kernel-sites.ts'
import { MetadataStub } from './metadata-stub.ts'

/** When reads of metadata are answered in the guest, and what becomes of them. */
export class MetadataReads {
  readonly #guest: Debugger
  readonly #seam: Seam
  readonly #stub: MetadataStub
  /** Where any other leaf is called. */
  readonly #calls: ReadonlySet<bigint>

  /** @param kernel one that has a place for the stub */
  constructor(
    guest: Debugger,
    seam: Seam,
    { sites, stubPlace }: Pick<KernelSites, 'sites' | 'stubPlace'>,
  ) {
    this.#guest = guest
    this.#seam = seam
    this.#stub = new MetadataStub(guest, stubPlace!)
    this.#calls = new Set(
      sites
        .filter(({ kind }) => !kind.endsWith('-msr'))
        .map(({ address }) => address),
    )
  }

  /**
   * A SEAMCALL was answered: after the first read of metadata many more will
   * come. All CPUs must have gone through TDH.SYS.LP.INIT, the module asks for
   * it.
   *
   * @returns where the guest goes on, if they will be answered there
   */
  async begin(
    cpu: number,
    leaf: number,
    trace: readonly SeamcallTrace[],
  ): Promise<bigint | undefined> {
    const stub = this.#stub
    if (stub.isInstalled || leaf !== LEAF.SYS_RD) return undefined
    const lps = trace.filter(
      call => call.leaf === LEAF.SYS_LP_INIT && call.status === 0n,
    )
    const isReady = new Set(lps.map(call => call.cpu)).size === this.#guest.cpus
    if (!isReady || trace.at(-1)?.status !== 0n) return undefined
    const table = this.#seam.metadataTable
    return (await stub.install(cpu, table)) ? stub.behind : undefined
  }

  /**
   * The guest has stopped. What other leaves do may change what is read, and the
   * kernel frees the stub's memory: it goes before that.
   *
   * @returns where the guest has stopped in the kernel's own code
   */
  async leave(
    cpu: number,
    rip: bigint,
    trace: SeamcallTrace[],
  ): Promise<bigint> {
    const stub = this.#stub
    if (!stub.isInstalled) return rip
    await this.note(cpu, trace)
    const isSlow = rip === stub.slow
    if (isSlow || stub.endsAt(rip) || this.#calls.has(rip))
      await stub.uninstall(cpu)
    return isSlow ? stub.site.address : rip
  }

  /** The module is told of the reads that were answered in its stead. */
  async note(cpu: number, trace: SeamcallTrace[]): Promise<void> {
    if (!this.#stub.isInstalled) return
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
    if (this.#stub.isInstalled) await this.#stub.abandon()
  }
}
