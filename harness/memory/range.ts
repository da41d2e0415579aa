import { hex } from '../base/units.ts'

/** Half-open range of physical addresses, in bytes: `[start, end)`. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** A range whose memory belongs to one NUMA node. */
export interface NodeRange extends Range {
  /** Node id; `NO_NODE` where the kernel found none. */
  readonly node: number
}

/** NUMA_NO_NODE (include/linux/nodemask_types.h). */
export const NO_NODE = -1

export const sizeOf = (range: Range): number => range.end - range.start

export const overlaps = (a: Range, b: Range): boolean =>
  a.start < b.end && b.start < a.end

export const contains = (outer: Range, inner: Range): boolean =>
  outer.start <= inner.start && inner.end <= outer.end

/** The common part, or undefined when there is none. */
export const intersect = (a: Range, b: Range): Range | undefined => {
  const start = Math.max(a.start, b.start)
  const end = Math.min(a.end, b.end)
  return start < end ? { start, end } : undefined
}

/** The same addresses as sorted, disjoint ranges that do not touch. */
export const union = (ranges: readonly Range[]): Range[] => {
  const merged: { start: number; end: number }[] = []
  let last: { start: number; end: number } | undefined
  for (const { start, end } of ascending(ranges)) {
    if (start >= end) continue
    if (last && start <= last.end) last.end = Math.max(last.end, end)
    else {
      last = { start, end }
      merged.push(last)
    }
  }
  return merged
}

/** Sorted by where they start; most are already, and sorting costs. */
const ascending = (ranges: readonly Range[]): readonly Range[] =>
  ranges.every((range, i) => i === 0 || ranges[i - 1]!.start <= range.start)
    ? ranges
    : ranges.toSorted((a, b) => a.start - b.start)

/** What of `range` lies in none of `holes`, ascending. */
export const subtract = (range: Range, holes: readonly Range[]): Range[] => {
  const left: Range[] = []
  let { start } = range
  for (const hole of union(holes)) {
    if (hole.end <= start) continue
    if (hole.start >= range.end) break
    if (hole.start > start) left.push({ start, end: hole.start })
    start = hole.end
  }
  if (start < range.end) left.push({ start, end: range.end })
  return left
}

export const totalSize = (ranges: readonly Range[]): number =>
  ranges.reduce((sum, range) => sum + sizeOf(range), 0)

/** `[0x100000, 0x7ffe0000)`: the way tdx.c prints a TDMR. */
export const formatRange = ({ start, end }: Range): string =>
  `[${hex(start)}, ${hex(end)})`

export const formatNodeRange = (range: NodeRange): string =>
  `${formatRange(range)} node ${range.node}`
