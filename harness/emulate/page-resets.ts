import type { KernelImage } from '../kernel/elf.ts'
import type { Debugger, RegisterChanges, Registers } from './debugger.ts'
import { readPointer } from './memlist.ts'
import { type Movdir64b, findMovdir64b, placesOf } from './movdir64b.ts'

/**
 * Functions that convert private memory back to normal with MOVDIR64B, or that
 * the compiler put them into: reset_tdx_pages() and, since 6.17,
 * tdx_quirk_reset_paddr() (arch/x86/virt/vmx/tdx/tdx.c).
 */
export const RESET_HOLDERS = [
  'reset_tdx_pages',
  'tdx_quirk_reset_paddr',
  'tdmr_reset_pamt',
  'tdmrs_reset_pamt_all',
  'init_tdx_module',
  '__tdx_enable',
  'tdx_enable',
] as const

/** A loop that writes 64 bytes at a time. */
export interface ResetLoop {
  readonly instruction: bigint
  readonly destination: Movdir64b['destination']
  /** The MFENCE behind the loop. */
  readonly end: bigint
  /** The kernel's own, which does what the loop is for. */
  readonly memset: bigint
}

const MFENCE = Buffer.from([0x0f, 0xae, 0xf0])
const LINE = 64n
/** Whole pages are converted. */
const PAGE = 4096n

export const findResetLoops = async (
  image: KernelImage,
): Promise<ResetLoop[]> => {
  const memset = image.symbol('memset')?.address
  if (memset === undefined) return []
  const loops: ResetLoop[] = []
  for (const symbol of RESET_HOLDERS.flatMap(
    name => image.symbol(name) ?? [],
  )) {
    const { address, size } = symbol
    const code = Buffer.from(await image.bytesAt(address, Number(size)))
    const fences = placesOf(code, MFENCE)
    for (const { offset, destination } of findMovdir64b(code)) {
      const fence = fences.find(at => at > offset)
      if (fence === undefined) continue
      loops.push({
        instruction: address + BigInt(offset),
        destination,
        end: address + BigInt(fence),
        memset,
      })
    }
  }
  return loops
}

/** page_offset_base of four-level page tables (asm/page_64_types.h). */
const PAGE_OFFSET = 0xffff888000000000n

/**
 * Where all memory is mapped.
 *
 * @param variable address of page_offset_base; undefined: the kernel has none
 */
export const directMapBase = async (
  guest: Debugger,
  cpu: number,
  variable: bigint | undefined,
): Promise<bigint> =>
  variable === undefined ? PAGE_OFFSET : readPointer(guest, cpu, variable)

/** What the loops depend on in a kernel. */
export interface ResetOptions {
  readonly loops: readonly ResetLoop[]
  /** Address of the variable page_offset_base, if the kernel has one. */
  readonly pageOffsetBase: bigint | undefined
  /** Bytes of physical memory that were converted. */
  readonly onReset: (start: bigint, bytes: number) => void
}

/**
 * Does the work of MOVDIR64B, which TCG does not have: three stops for a range,
 * however long it is. The instruction itself is patched out, so the loop runs
 * through; behind it the rig has the kernel's own memset() write the zeros.
 */
export class PageResets {
  readonly #guest: Debugger
  readonly #options: ResetOptions
  /** Where each loop that runs has begun; a loop is run by one CPU at a time. */
  readonly #begun = new Map<ResetLoop, bigint>()
  /** Registers as they were before memset(). */
  readonly #saved = new Map<ResetLoop, Registers>()

  constructor(guest: Debugger, options: ResetOptions) {
    this.#guest = guest
    this.#options = options
  }

  /** The kernel has a loop of a form that is known. */
  get follows(): boolean {
    return this.#options.loops.length > 0
  }

  get addresses(): readonly bigint[] {
    return this.#options.loops.flatMap(({ instruction, end }) => [
      instruction,
      end,
    ])
  }

  /** @returns what changes at this stop; undefined: it is not about a loop */
  async answer(
    cpu: number,
    registers: Registers,
  ): Promise<RegisterChanges | undefined> {
    const { rip } = registers
    for (const loop of this.#options.loops) {
      if (rip === loop.instruction) {
        this.#begun.set(loop, registers[loop.destination])
        await this.#guest.remove(loop.instruction)
        return {}
      }
      if (rip === loop.end) return this.#behind(cpu, loop, registers)
    }
    return undefined
  }

  async #behind(
    cpu: number,
    loop: ResetLoop,
    registers: Registers,
  ): Promise<RegisterChanges> {
    const next = loop.end + BigInt(MFENCE.length)
    const saved = this.#saved.get(loop)
    if (saved) {
      this.#saved.delete(loop)
      return { ...saved, rip: next }
    }
    const start = this.#begun.get(loop)
    // Of nothing: the loop was never entered.
    if (start === undefined) return { rip: next }
    this.#begun.delete(loop)
    await this.#guest.plant(loop.instruction)
    // A compiler may have the register behind the last line, or at it.
    const end = (registers[loop.destination] + LINE) & ~(PAGE - 1n)
    const bytes = end - start
    const base = await directMapBase(
      this.#guest,
      cpu,
      this.#options.pageOffsetBase,
    )
    this.#options.onReset(start - base, Number(bytes))
    this.#saved.set(loop, registers)
    const back = Buffer.alloc(8)
    back.writeBigUInt64LE(loop.end)
    const rsp = registers.rsp - 8n
    await this.#guest.writeVirtual(cpu, rsp, back)
    return { rip: loop.memset, rsp, rdi: start, rsi: 0n, rdx: bytes }
  }
}
