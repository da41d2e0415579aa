import type { KernelImage } from '../kernel/elf.ts'
import type { Debugger } from './debugger.ts'

/**
 * Pages between text and rodata: mapped as code, used by nothing, and freed
 * when the kernel is up (mark_rodata_ro(), arch/x86/mm/init_64.c).
 */
export interface TextGap {
  readonly start: bigint
  readonly end: bigint
  /** `system_state` (init/main.c): the pages are there until it is 2. */
  readonly systemState: bigint
  /** Where the pages are freed, and where a kernel ends. */
  readonly ends: readonly bigint[]
}

export const PAGE = 4096n

/** SYSTEM_FREEING_INITMEM (include/linux/kernel.h). */
const FREEING_INITMEM = 2

/** @returns undefined where the kernel has none, or a symbol is missing */
export const findTextGap = (image: KernelImage): TextGap | undefined => {
  const address = (name: string): bigint | undefined =>
    image.symbol(name)?.address
  const text = address('_etext')
  const end = address('__start_rodata')
  const frees = address('mark_rodata_ro')
  const panics = address('panic')
  const systemState = address('system_state')
  if (text === undefined || end === undefined) return undefined
  if (frees === undefined || panics === undefined) return undefined
  if (systemState === undefined) return undefined
  const start = (text + 2n * PAGE) & ~(PAGE - 1n)
  return start < end
    ? { start, end, systemState, ends: [frees, panics] }
    : undefined
}

/** Whether the kernel has the gap still. */
export const isThere = async (
  guest: Debugger,
  cpu: number,
  { systemState }: TextGap,
): Promise<boolean> => {
  try {
    const state = await guest.readVirtual(cpu, systemState, 4)
    return Buffer.from(state).readUInt32LE() < FREEING_INITMEM
  } catch {
    // With page-table isolation a CPU in user mode does not map it.
    return false
  }
}

/**
 * Whether nothing lies in a part of a gap that is there: the linker fills what
 * is between sections with one byte.
 */
export const isUnused = async (
  guest: Debugger,
  cpu: number,
  gap: TextGap,
  part: { readonly start: bigint; readonly length: number },
): Promise<boolean> => {
  if (part.start + BigInt(part.length) > gap.end) return false
  try {
    const bytes = await guest.readVirtual(cpu, part.start, part.length)
    return bytes.every(byte => byte === bytes[0])
  } catch {
    return false
  }
}
