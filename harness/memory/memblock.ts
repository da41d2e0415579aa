import { PAGE_SIZE, alignDown, alignUp } from '../base/units.ts'
import { type NodeRange, type Range, sizeOf, union } from './range.ts'

/**
 * Usable e820 ranges as memblock keeps them: neighbours joined, partial pages
 * thrown away (e820__memblock_setup() and memblock_trim_memory()).
 */
export const memblockMemory = (usable: readonly Range[]): Range[] =>
  wholePages(union(usable))

/** What of the ranges whole pages fill (for_each_mem_pfn_range()). */
export const wholePages = <R extends Range>(ranges: readonly R[]): R[] => {
  const whole: R[] = []
  for (const range of ranges) {
    const start = alignUp(range.start, PAGE_SIZE)
    const end = alignDown(range.end, PAGE_SIZE)
    if (start >= end) continue
    const same = start === range.start && end === range.end
    whole.push(same ? range : { ...range, start, end })
  }
  return whole
}

/** memblock_merge_regions(): touching regions are one where `same` says so. */
export const joinNeighbours = <R extends Range>(
  sorted: readonly R[],
  same: (a: R, b: R) => boolean,
): R[] => {
  const joined: R[] = []
  for (const range of sorted) {
    const last = joined.at(-1)
    if (last?.end === range.start && same(last, range))
      joined[joined.length - 1] = { ...last, end: range.end }
    else if (sizeOf(range) > 0) joined.push(range)
  }
  return joined
}

/** Touching ranges of one node are one; of more than a range only that stays. */
export const mergeNodes = (sorted: readonly NodeRange[]): NodeRange[] =>
  joinNeighbours(
    sorted.map(({ start, end, node }) => ({ start, end, node })),
    (a, b) => a.node === b.node,
  )

/** Memory that was hot-added: memblock_add_node() (mm/memblock.c). */
export const addMemory = (
  memblock: readonly NodeRange[],
  added: readonly NodeRange[],
): NodeRange[] =>
  mergeNodes([...memblock, ...added].sort((a, b) => a.start - b.start))
