import { GIB, MIB } from '../base/units.ts'
import { type NodeRange, type Range, intersect, totalSize } from './range.ts'

/**
 * memory_block_size_bytes() of a guest (arch/x86/mm/init_64.c): what is put
 * online, and taken offline, at once.
 */
export const MEMORY_BLOCK = 128 * MIB

/** From here on blocks grow (probe_memory_block_size(), the same file). */
export const LARGE_BLOCKS = 64 * GIB

/** The blocks of a range; parts of a block are left out. */
export const memoryBlocks = ({ start, end }: Range): Range[] => {
  const first = Math.ceil(start / MEMORY_BLOCK)
  const count = Math.floor(end / MEMORY_BLOCK) - first
  return Array.from({ length: Math.max(0, count) }, (_, i) => {
    const at = (first + i) * MEMORY_BLOCK
    return { start: at, end: at + MEMORY_BLOCK }
  })
}

/** Whether a kernel can add memory: check_hotplug_memory_range(), mm/memory_hotplug.c. */
export const isAddable = ({ start, end }: Range): boolean =>
  start % MEMORY_BLOCK === 0 && end % MEMORY_BLOCK === 0

/** What is there of a block of boot memory. */
export interface BlockContent {
  /** The kernel makes a memory block where there is any memory at all. */
  readonly exists: boolean
  /** Why it can never be taken offline; undefined: its pages decide. */
  readonly fixed: string | undefined
}

/**
 * A block with a hole or of two nodes stays online: offline_pages()
 * (mm/memory_hotplug.c) and memory_block_offline() (drivers/base/memory.c).
 *
 * @param memblock boot memory by its nodes
 */
export const blockContent = (
  block: Range,
  memblock: readonly NodeRange[],
): BlockContent => {
  const pieces = memblock.flatMap(range => {
    const piece = intersect(range, block)
    return piece ? [{ ...piece, node: range.node }] : []
  })
  if (pieces.length === 0) return { exists: false, fixed: undefined }
  if (totalSize(pieces) < MEMORY_BLOCK)
    return { exists: true, fixed: 'it has a hole' }
  return {
    exists: true,
    fixed:
      new Set(pieces.map(({ node }) => node)).size > 1
        ? 'it is on two nodes'
        : undefined,
  }
}
