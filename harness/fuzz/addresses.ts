import { GIB, KIB, MIB, PAGE_SIZE, alignDown } from '../base/units.ts'
import { type Range, sizeOf } from '../memory/range.ts'
import type { Random } from './random.ts'

/** A memory section of x86-64 (SECTION_SIZE_BITS, asm/sparsemem.h). */
const SECTION = 128 * MIB

/** How far from a border things break, or just do not. */
const OFFSETS = [
  0,
  0,
  PAGE_SIZE,
  -PAGE_SIZE,
  2 * MIB,
  -2 * MIB,
  SECTION,
  -SECTION,
  1,
  -1,
  KIB,
  -KIB,
  64 * KIB,
]

const SIZES = [
  KIB,
  PAGE_SIZE,
  PAGE_SIZE,
  PAGE_SIZE + 1,
  64 * KIB,
  MIB,
  2 * MIB,
  2 * MIB - PAGE_SIZE,
  64 * MIB,
  SECTION,
]

/** Where rules change, and where a range begins or ends. */
const bordersOf = (ranges: readonly Range[]): number[] =>
  ranges.flatMap(({ start, end }) => [
    start,
    end,
    alignDown(start + sizeOf({ start, end }) / 2, PAGE_SIZE),
    ...Array.from(
      { length: Math.floor(end / GIB) - Math.floor(start / GIB) },
      (_, i) => alignDown(start, GIB) + (i + 1) * GIB,
    ),
  ])

/** An address inside the ranges, often close to a border. */
export const addressIn = (random: Random, ranges: readonly Range[]): number => {
  const range = random.pick(ranges)
  const near =
    random.pick([MIB, 16 * MIB, ...bordersOf(ranges)]) + random.pick(OFFSETS)
  if (random.onceIn(3) || !ranges.some(r => r.start <= near && near < r.end)) {
    const pages = Math.max(1, Math.floor(sizeOf(range) / PAGE_SIZE))
    return range.start + random.int(0, pages - 1) * PAGE_SIZE
  }
  return near
}

/** A small piece of one of the ranges. */
export const pieceIn = (random: Random, ranges: readonly Range[]): Range => {
  const start = addressIn(random, ranges)
  const { end } = ranges.find(r => r.start <= start && start < r.end)!
  return { start, end: Math.min(end, start + random.pick(SIZES)) }
}
