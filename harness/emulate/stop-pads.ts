import type { KernelImage } from '../kernel/elf.ts'
import { JUMP_LENGTH, assemble, jump } from './assembler.ts'
import type { Debugger } from './debugger.ts'
import type { Site } from './sites.ts'
import { PAGE, type TextGap, isThere, isUnused } from './text-gap.ts'

/** A site that a jump fits over. */
export interface PaddedSite {
  readonly site: Site
  /** Behind all that the jump takes the place of. */
  readonly behind: bigint
  /** Where a jump goes that it takes the place of, too; undefined: none. */
  readonly onCarry: bigint | undefined
}

/** `jc rel8` behind SEAMCALL (arch/x86/virt/vmx/tdx/tdxcall.S). */
const JUMP_ON_CARRY = 0x72
const JUMP_ON_CARRY_LENGTH = 2

/** Sites of any other form keep their breakpoints. */
export const findPaddedSites = async (
  image: KernelImage,
  sites: readonly Site[],
): Promise<PaddedSite[]> => {
  const found: PaddedSite[] = []
  for (const site of sites) {
    const end = site.address + BigInt(site.length)
    if (site.kind === 'vmxon' && site.length >= JUMP_LENGTH)
      found.push({ site, behind: end, onCarry: undefined })
    if (site.kind !== 'seamcall') continue
    const next = await image.bytesAt(end, JUMP_ON_CARRY_LENGTH)
    if (next[0] !== JUMP_ON_CARRY) continue
    const behind = end + BigInt(JUMP_ON_CARRY_LENGTH)
    const onCarry = behind + BigInt(Buffer.from(next).readInt8(1))
    found.push({ site, behind, onCarry })
  }
  return found
}

/** Of the code of one site, from its beginning. */
const SLOT = 32n
/** The guest has stopped here: behind the write. */
const STOPPED = 7n
/** Where it goes on when it was answered. */
const ANSWERED = STOPPED + 2n
const ANSWERED_JUMP = ANSWERED + 6n

/** EFLAGS.CF */
const CARRY = 1n

/**
 * Stops the guest without breakpoints: QEMU throws away all that TCG has
 * translated when a breakpoint is hit, and nothing when a watchpoint is
 * (gdb_vm_state_change(), gdbstub.c). A site becomes a jump to code that writes
 * a byte that is watched.
 */
export class StopPads {
  readonly #guest: Debugger
  readonly #gap: TextGap
  readonly #sites: readonly PaddedSite[]
  /** What the jumps have taken the place of; undefined: nothing. */
  #originals: readonly Uint8Array[] | undefined

  constructor(guest: Debugger, gap: TextGap, sites: readonly PaddedSite[]) {
    this.#guest = guest
    this.#gap = gap
    this.#sites = sites
  }

  get isInstalled(): boolean {
    return this.#originals !== undefined
  }

  /** Behind what this takes of the gap. */
  get end(): bigint {
    return this.#watched + PAGE
  }

  /** On a page of its own: TCG looks at each access to its page. */
  get #watched(): bigint {
    return this.#gap.start + PAGE
  }

  #padOf(index: number): bigint {
    return this.#gap.start + BigInt(index) * SLOT
  }

  /** Where the guest stops instead of at a site. */
  padAt(site: Site): bigint | undefined {
    const index = this.#sites.findIndex(padded => padded.site === site)
    return index < 0 ? undefined : this.#padOf(index)
  }

  /** @returns the site at which the guest has stopped, if this has stopped it */
  siteOf(rip: bigint): Site | undefined {
    if (!this.isInstalled) return undefined
    return this.#sites.find((_, i) => this.#padOf(i) + STOPPED === rip)?.site
  }

  /** @returns where a CPU is in the kernel's own code: the site of its pad */
  inKernel(rip: bigint): bigint {
    return this.isInstalled ? (this.#padded(rip)?.site.address ?? rip) : rip
  }

  /** The site in whose pad an address is. */
  #padded(rip: bigint): PaddedSite | undefined {
    return this.#sites.find(
      (_, i) => rip >= this.#padOf(i) && rip < this.#padOf(i) + SLOT,
    )
  }

  /** Where the guest goes on behind a site. */
  behind(site: Site): bigint {
    const pad = this.isInstalled ? this.padAt(site) : undefined
    return pad === undefined
      ? site.address + BigInt(site.length)
      : pad + ANSWERED
  }

  /** @returns whether a stop is one at which this must be gone */
  endsAt(rip: bigint): boolean {
    return this.isInstalled && this.#gap.ends.includes(rip)
  }

  /**
   * In a stopped guest, whose sites have breakpoints.
   *
   * @returns false: it cannot be, and all is as it was
   */
  async install(cpu: number): Promise<boolean> {
    const guest = this.#guest
    const { start, ends } = this.#gap
    const part = { start, length: Number(this.end - start) }
    if (this.isInstalled || this.#sites.length === 0) return false
    if (!(await isThere(guest, cpu, this.#gap))) return false
    if (!(await isUnused(guest, cpu, this.#gap, part))) return false
    this.#originals = await Promise.all(
      this.#sites.map(({ site }) =>
        guest.readVirtual(cpu, site.address, JUMP_LENGTH),
      ),
    )
    for (const [i, padded] of this.#sites.entries()) {
      const pad = this.#padOf(i)
      await guest.writeVirtual(cpu, pad, padCode(pad, this.#watched, padded))
      await this.jumpFrom(cpu, padded.site, pad)
    }
    await Promise.all([
      guest.watch(this.#watched),
      ...this.#sites.map(({ site }) => guest.remove(site.address)),
      ...ends.map(address => guest.plant(address)),
    ])
    return true
  }

  /** Sends a site somewhere: to its pad, or what goes there by itself. */
  async jumpFrom(cpu: number, site: Site, to: bigint): Promise<void> {
    await this.#guest.writeVirtual(cpu, site.address, jump(site.address, to))
  }

  /** The kernel's code is as it was, and stops at the sites. */
  async uninstall(cpu: number): Promise<void> {
    const originals = this.#originals
    if (!originals) return
    const guest = this.#guest
    for (const [i, { site }] of this.#sites.entries()) {
      await guest.writeVirtual(cpu, site.address, originals[i]!)
      // A task that was interrupted in a pad comes back to the site.
      const pad = this.#padOf(i)
      await guest.writeVirtual(cpu, pad, jump(pad, site.address))
    }
    await this.#leavePads(cpu)
    await this.abandon()
  }

  /** The kernel that it was put into is gone, and its memory is another's. */
  async abandon(): Promise<void> {
    if (!this.#originals) return
    this.#originals = undefined
    const guest = this.#guest
    await Promise.all([
      guest.unwatch(this.#watched),
      ...this.#sites.map(({ site }) => guest.plant(site.address)),
      ...this.#gap.ends.map(address => guest.remove(address)),
    ])
  }

  /**
   * Kernels may call on several CPUs at a time, and one stop is reported.
   *
   * @param stopped its place is known to whoever answers it
   */
  async #leavePads(stopped: number): Promise<void> {
    const guest = this.#guest
    for (let cpu = 0; cpu < guest.cpus; cpu++) {
      if (cpu === stopped) continue
      const { rip, eflags } = await guest.registers(cpu)
      const padded = this.#padded(rip)
      if (!padded) continue
      const offset = rip - this.#padOf(this.#sites.indexOf(padded))
      const to = placeInKernel(padded, offset, eflags)
      await guest.setRegisters(cpu, { rip: to })
    }
  }
}

/** Where a CPU is in the kernel's own code that is so far into a pad. */
const placeInKernel = (
  { site, behind, onCarry }: PaddedSite,
  offset: bigint,
  eflags: bigint,
): bigint => {
  if (offset < ANSWERED) return site.address
  const jumps = offset < ANSWERED_JUMP && (eflags & CARRY) !== 0n
  return jumps ? (onCarry ?? behind) : behind
}

/** Registers and flags stay: they are what the site is called with. */
const padCode = (
  pad: bigint,
  watched: bigint,
  { behind, onCarry = behind }: PaddedSite,
): Buffer =>
  assemble(pad, [
    // movb $1, watched(%rip): the guest stops behind it.
    [[0xc6, 0x05], watched, [1]],
    // jmp back: of two CPUs that write at a time one stop is reported, and the
    // other one comes again. So does one that QEMU stops before its write.
    [[0xeb, 0xf7]],
    // jc where the kernel goes; jmp behind it
    [[0x0f, 0x82], onCarry],
    [[0xe9], behind],
  ])
