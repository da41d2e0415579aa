import { hex } from '../base/units.ts'
import {
  type AllocationKind,
  type AllocationSite,
  CALL_LENGTH,
} from './allocation-sites.ts'
import { readPointer } from './memlist.ts'
import { PageResets, type ResetOptions, directMapBase } from './page-resets.ts'
import type { Debugger, RegisterChanges, Registers } from './debugger.ts'

/** An allocation that the TDX host support of a kernel made. */
export interface Allocation {
  /** Counted from 1, in the order of the boot. */
  readonly number: number
  readonly kind: AllocationKind
  readonly bytes: number
  /** Function that asked for it, and what it called. */
  readonly by: string
  readonly callee: string
  /** `failed`: it was given nothing, by the rig or by the kernel itself. */
  readonly state: AllocationState
  /**
   * Bytes of it that were converted back with MOVDIR64B while it was held;
   * null: the rig knows no loop of this kernel that does so.
   */
  readonly resetBytes: number | null
}

/** What became of an allocation by the end of the boot. */
export const ALLOCATION_STATES = ['held', 'freed', 'failed'] as const
export type AllocationState = (typeof ALLOCATION_STATES)[number]

/** What the kernel did with its memory, and should not have done. */
export interface LedgerRecord {
  readonly allocations: readonly Allocation[]
  /** Frees of what was freed before: `pages at 0x... in free_pamt`. */
  readonly freedTwice: readonly string[]
}

interface Entry {
  readonly allocation: Omit<Allocation, 'state' | 'resetBytes'>
  /** Address of what was given; undefined: nothing was. */
  key: bigint | undefined
  state: AllocationState
  resetBytes: number
}

const PAGE = 4096n

/** vmemmap of four-level page tables (asm/pgtable_64_types.h). */
const VMEMMAP = 0xffffea0000000000n
/** sizeof(struct page) of every configuration that is shipped. */
const STRUCT_PAGE = 64n

/**
 * Follows what the TDX host support of a kernel allocates and frees, and lets
 * one allocation fail. A call is made in the kernel's stead, so that it returns
 * to its own address: the same breakpoint shows what came of it.
 */
export class Ledger {
  readonly #guest: Debugger
  readonly #sites: ReadonlyMap<bigint, AllocationSite>
  readonly #vmemmapBase: bigint | undefined
  readonly #pageOffsetBase: bigint | undefined
  readonly #failing: number | undefined
  readonly #entries: Entry[] = []
  readonly #freedTwice: string[] = []
  /** Calls on their way, by the stack pointer: a task has one stack. */
  readonly #pending = new Map<bigint, Entry>()
  readonly #resets: PageResets

  /** @param failing number of the allocation that fails, from 1 */
  constructor(
    guest: Debugger,
    {
      sites,
      resets,
      vmemmapBase,
      failing,
    }: {
      readonly sites: readonly AllocationSite[]
      readonly resets: Omit<ResetOptions, 'onReset'>
      /** Address of the variable vmemmap_base, if the kernel has one. */
      readonly vmemmapBase: bigint | undefined
      readonly failing: number | undefined
    },
  ) {
    this.#guest = guest
    this.#sites = new Map(sites.map(site => [site.address, site]))
    this.#vmemmapBase = vmemmapBase
    this.#pageOffsetBase = resets.pageOffsetBase
    this.#failing = failing
    this.#resets = new PageResets(guest, {
      ...resets,
      onReset: (start, bytes) => {
        this.#reset(start, bytes)
      },
    })
  }

  get addresses(): readonly bigint[] {
    return [...this.#sites.keys(), ...this.#resets.addresses]
  }

  /** The kernel has made none of the calls yet. */
  get isUntouched(): boolean {
    return this.#entries.length === 0 && this.#freedTwice.length === 0
  }

  get record(): LedgerRecord {
    return {
      allocations: this.#entries.map(({ allocation, state, resetBytes }) => ({
        number: allocation.number,
        kind: allocation.kind,
        bytes: allocation.bytes,
        by: allocation.by,
        callee: allocation.callee,
        state,
        resetBytes: this.#resets.follows ? resetBytes : null,
      })),
      freedTwice: this.#freedTwice,
    }
  }

  /** @returns what changes at this stop; undefined: it is none of these calls */
  async answer(
    cpu: number,
    registers: Registers,
  ): Promise<RegisterChanges | undefined> {
    const site = this.#sites.get(registers.rip)
    if (!site) return this.#resets.answer(cpu, registers)
    const returned = this.#pending.get(registers.rsp)
    if (returned && site.does === 'allocate') {
      this.#pending.delete(registers.rsp)
      returned.key = await this.#keyOf(cpu, site.kind, registers.rax)
      returned.state = returned.key === undefined ? 'failed' : 'held'
      return { rip: behind(site) }
    }
    if (site.does === 'free') {
      this.#free(site, registers)
      return site.tail
        ? { rip: site.target }
        : this.#call(cpu, site, registers, behind(site))
    }
    const entry = this.#begin(site, registers)
    if (entry.allocation.number === this.#failing)
      return { rax: 0n, rip: behind(site) }
    this.#pending.set(registers.rsp, entry)
    return this.#call(cpu, site, registers, site.address)
  }

  #begin(site: AllocationSite, registers: Registers): Entry {
    const number = this.#entries.length + 1
    const entry: Entry = {
      allocation: {
        number,
        kind: site.kind,
        bytes: sizeOf(site, registers),
        by: site.symbol,
        callee: site.callee,
      },
      key: undefined,
      state: 'failed',
      resetBytes: 0,
    }
    this.#entries.push(entry)
    return entry
  }

  #free({ kind, symbol }: AllocationSite, { rdi }: Registers): void {
    if (rdi === 0n) return
    const same = this.#entries.filter(
      ({ allocation, key }) => allocation.kind === kind && key === rdi,
    )
    const live = same.find(({ state }) => state === 'held')
    if (live) live.state = 'freed'
    else if (same.length > 0)
      this.#freedTwice.push(`${kind} at ${hex(rdi)} in ${symbol}`)
  }

  #reset(start: bigint, bytes: number): void {
    const entry = this.#entries.find(
      ({ allocation, key, state }) =>
        allocation.kind === 'contiguous pages' &&
        state === 'held' &&
        key !== undefined &&
        start >= key * PAGE &&
        start < key * PAGE + BigInt(allocation.bytes),
    )
    if (entry) entry.resetBytes += bytes
  }

  /** What is given as a struct page is freed by PFN, or by its address. */
  async #keyOf(
    cpu: number,
    kind: AllocationKind,
    given: bigint,
  ): Promise<bigint | undefined> {
    if (given === 0n) return undefined
    if (kind === 'object' || kind === 'pages') return given
    const base =
      this.#vmemmapBase === undefined
        ? VMEMMAP
        : await readPointer(this.#guest, cpu, this.#vmemmapBase)
    const pfn = (given - base) / STRUCT_PAGE
    return kind === 'contiguous pages'
      ? pfn
      : pfn * PAGE +
          (await directMapBase(this.#guest, cpu, this.#pageOffsetBase))
  }

  async #call(
    cpu: number,
    { target }: AllocationSite,
    { rsp }: Registers,
    back: bigint,
  ): Promise<RegisterChanges> {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(back)
    await this.#guest.writeVirtual(cpu, rsp - 8n, bytes)
    return { rsp: rsp - 8n, rip: target }
  }
}

const behind = ({ address }: AllocationSite): bigint =>
  address + BigInt(CALL_LENGTH)

const sizeOf = ({ size, unit }: AllocationSite, registers: Registers): number =>
  (size === 'none' ? 1 : Number(registers[size])) * unit
