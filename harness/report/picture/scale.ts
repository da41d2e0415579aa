/**
 * Puts physical addresses on a line of limited length. Between two borders the
 * scale is linear. A piece of memory that would be too small to see is drawn
 * larger, and one that would take all the room is folded.
 */

/** What lies between two neighbouring borders. */
export interface Segment {
  readonly start: number
  readonly end: number
  /** Where it begins on the line. */
  readonly at: number
  readonly width: number
  /** Drawn smaller than its neighbours: the scale is interrupted. */
  readonly folded: boolean
  /** Drawn larger than its neighbours. */
  readonly enlarged: boolean
}

export interface Scale {
  /** Ascending, without gaps; empty when there are less than two borders. */
  readonly segments: readonly Segment[]
  readonly width: number
  /** Position of an address; those outside are at the ends. */
  readonly at: (address: number) => number
}

/** How long the line is, and what a segment of it takes. */
export interface ScaleOptions {
  /** Where the segments need more than that, the line is longer. */
  readonly width: number
  readonly least: number
  /** The largest share of the line that one of several segments takes. */
  readonly most: number
}

/**
 * @param borders in any order, repeated or not
 */
export const makeScale = (
  borders: readonly number[],
  { width, least, most }: ScaleOptions,
): Scale => {
  const sorted = [...new Set(borders)].sort((a, b) => a - b)
  const pieces = sorted.slice(1).map((end, i) => ({ start: sorted[i]!, end }))
  const room = Math.max(width, least * pieces.length)
  const { density, limit } = fit(
    pieces.map(({ start, end }) => end - start),
    { room, least, most },
  )
  let at = 0
  const segments = pieces.map(({ start, end }) => {
    const linear = (end - start) * density
    const drawn = clamp(linear, least, limit)
    const segment = {
      start,
      end,
      at,
      width: drawn,
      folded: linear > drawn * VISIBLY,
      enlarged: linear * VISIBLY < drawn,
    }
    at += drawn
    return segment
  })
  return { segments, width: at, at: positions(segments, at) }
}

/** A piece that is off by less looks right. */
const VISIBLY = 1.5

const clamp = (value: number, least: number, most: number): number =>
  Math.min(Math.max(value, least), most)

interface Room {
  readonly room: number
  readonly least: number
  readonly most: number
}

/**
 * A fold makes room for pieces down to this share of the largest. Smaller ones
 * stay small: a page beside terabytes must not look like one of them.
 */
const WORTH_A_FOLD = 1 / 1024

/** Length of a byte, and of the longest piece, with which the room is filled. */
const fit = (
  sizes: readonly number[],
  { room, least, most }: Room,
): { readonly density: number; readonly limit: number } => {
  const largest = Math.max(...sizes, 1)
  const length = (density: number, limit: number): number =>
    sizes.reduce((sum, size) => sum + clamp(size * density, least, limit), 0)
  const highest = (limit: number): number => limit / (largest * WORTH_A_FOLD)
  const folded = Math.max(room * most, least)
  if (length(highest(folded), folded) >= room) {
    const density = solve(highest(folded), middle =>
      length(middle, folded) > room ? 'less' : 'more',
    )
    return { density, limit: folded }
  }
  const limit = solve(room, middle =>
    length(highest(middle), Math.max(middle, least)) > room ? 'less' : 'more',
  )
  return { density: highest(limit), limit: Math.max(limit, least) }
}

/** More than the bits of a double's fraction, and of 52-bit addresses. */
const STEPS = 110

/** The largest value up to `high` of which not too much comes. */
const solve = (
  high: number,
  at: (value: number) => 'less' | 'more',
): number => {
  let low = 0
  let top = high
  for (let i = 0; i < STEPS; i++) {
    const middle = low + (top - low) / 2
    if (at(middle) === 'less') top = middle
    else low = middle
  }
  return low
}

const positions =
  (segments: readonly Segment[], length: number) =>
  (address: number): number => {
    const [first] = segments
    if (!first || address <= first.start) return 0
    let low = 0
    let high = segments.length - 1
    if (address >= segments[high]!.end) return length
    while (low < high) {
      const middle = (low + high) >> 1
      if (segments[middle]!.end > address) high = middle
      else low = middle + 1
    }
    const { start, end, at, width } = segments[low]!
    return at + ((address - start) / (end - start)) * width
  }
