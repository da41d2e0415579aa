import { MIB, PAGE_SIZE, alignDown, alignUp } from '../base/units.ts'
import {
  NO_NODE,
  type NodeRange,
  type Range,
  intersect,
  overlaps,
  sizeOf,
  subtract,
  totalSize,
  union,
} from './range.ts'

/**
 * Usable e820 ranges as memblock keeps them: neighbours joined, partial pages
 * thrown away (e820__memblock_setup() and memblock_trim_memory()).
 */
export const memblockMemory = (usable: readonly Range[]): Range[] =>
  union(usable)
    .map(({ start, end }) => ({
      start: alignUp(start, PAGE_SIZE),
      end: alignDown(end, PAGE_SIZE),
    }))
    .filter(range => range.start < range.end)

/** Why the kernel put everything on node 0, or undefined when it did not. */
export interface NodeAssignment {
  /** memblock.memory split by node, ascending. */
  readonly ranges: readonly NodeRange[]
  readonly fallback: string | undefined
}

/**
 * x86_numa_init() (arch/x86/mm/numa.c): node numbers from the SRAT, or a
 * single node 0 when there is no SRAT, it is unusable, or NUMA is off.
 *
 * @param memory memblock.memory, sorted and disjoint
 * @param srat memory affinity entries, in table order
 */
export const assignNodes = (
  memory: readonly Range[],
  srat: readonly NodeRange[],
  numaOff: boolean,
): NodeAssignment => {
  const single = (fallback: string): NodeAssignment => ({
    ranges: memory.map(range => ({ ...range, node: 0 })),
    fallback,
  })
  if (numaOff) return single('NUMA turned off')
  if (srat.length === 0) return single('No NUMA configuration found')
  const blocks = cleanupMeminfo(srat, memory)
  if (typeof blocks === 'string') return single(blocks)
  const ranges = splitByNode(memory, blocks)
  const lost = totalSize(ranges.filter(range => range.node === NO_NODE))
  // memblock_validate_numa_coverage(SZ_1M), mm/memblock.c
  if (lost > MIB) return single(`SRAT leaves ${lost} bytes without a node`)
  return { ranges, fallback: undefined }
}

/**
 * numa_cleanup_meminfo() (mm/numa_memblks.c; arch/x86/mm/numa.c before 6.12):
 * drops blocks without memory, trims to RAM, joins blocks of one node unless
 * another node lies between.
 *
 * @returns the blocks, or the reason the kernel rejects the table
 */
const cleanupMeminfo = (
  srat: readonly NodeRange[],
  memory: readonly Range[],
): NodeRange[] | string => {
  const low = memory[0]?.start ?? 0
  const high = memory.at(-1)?.end ?? 0
  const blocks = srat
    .filter(block => memory.some(range => overlaps(range, block)))
    .map(block => ({
      start: Math.max(block.start, low),
      end: Math.min(block.end, high),
      node: block.node,
    }))
  for (let i = 0; i < blocks.length; i++) {
    for (let j = i + 1; j < blocks.length; j++) {
      const a = blocks[i]!
      const b = blocks[j]!
      if (a.node !== b.node) {
        if (overlaps(a, b))
          return `node ${a.node} overlaps with node ${b.node} in the SRAT`
        continue
      }
      const joined = {
        start: Math.min(a.start, b.start),
        end: Math.max(a.end, b.end),
        node: a.node,
      }
      if (blocks.some(c => c.node !== a.node && overlaps(c, joined))) continue
      blocks[i] = joined
      blocks.splice(j--, 1)
    }
  }
  return blocks
}

/** memblock_set_node() for each block; memory outside all has no node. */
const splitByNode = (
  memory: readonly Range[],
  blocks: readonly NodeRange[],
): NodeRange[] => {
  const pieces = memory.flatMap(range => [
    ...blocks.flatMap(block => {
      const common = intersect(range, block)
      return common ? [{ ...common, node: block.node }] : []
    }),
    ...subtract(range, blocks).map(left => ({ ...left, node: NO_NODE })),
  ])
  return joinNeighbours(pieces.sort((a, b) => a.start - b.start))
}

/** Memory that was hot-added: memblock_add_node() (mm/memblock.c). */
export const addMemory = (
  memblock: readonly NodeRange[],
  added: readonly NodeRange[],
): NodeRange[] =>
  joinNeighbours([...memblock, ...added].sort((a, b) => a.start - b.start))

/** memblock_merge_regions(): touching regions of one node are one. */
const joinNeighbours = (sorted: readonly NodeRange[]): NodeRange[] => {
  const joined: NodeRange[] = []
  for (const range of sorted) {
    const last = joined.at(-1)
    if (last?.end === range.start && last.node === range.node)
      joined[joined.length - 1] = { ...last, end: range.end }
    else if (sizeOf(range) > 0) joined.push(range)
  }
  return joined
}
