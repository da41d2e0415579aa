import { PAGE_SIZE, alignDown, alignUp } from '../base/units.ts'
import { type NodeRange, type Range, sizeOf, union } from './range.ts'

/**
 * Usable e820 ranges as memblock keeps them: neighbours joined, partial pages
 * thrown away (e820__memblock_setup() and memblock_trim_memory()).
 */
export const memblockMemory = (usable: readonly Range[]): Range[] =>
  wholePages(union(usable))

/** What of the ranges whole pages fill (for_each_mem_pfn_range()). */
export const wholePages = <R extends Range>(ranges: readonly R[]): R[] =>
  ranges
    .map(range => ({
      ...range,
      start: alignUp(range.start, PAGE_SIZE),
      end: alignDown(range.end, PAGE_SIZE),
    }))
    .filter(range => range.start < range.end)

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

/** Memory that was hot-added: memblock_add_node() (mm/memblock.c). */
export const addMemory = (
  memblock: readonly NodeRange[],
  added: readonly NodeRange[],
): NodeRange[] =>
  joinNeighbours(
    [...memblock, ...added].sort((a, b) => a.start - b.start),
    (a, b) => a.node === b.node,
  )

/** Cuts sorted ranges at addresses. */
export const cutAt = <R extends Range>(
  ranges: readonly R[],
  borders: readonly number[],
): R[] => {
  const sorted = [...borders].sort((a, b) => a - b)
  return ranges.flatMap(range => {
    const pieces: R[] = []
    let { start } = range
    for (const border of sorted) {
      if (border <= start || border >= range.end) continue
      pieces.push({ ...range, start, end: border })
      start = border
    }
    pieces.push({ ...range, start })
    return pieces
  })
}
