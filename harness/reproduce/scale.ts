import { GIB } from '../base/units.ts'
import type { Range } from '../memory/range.ts'

/**
 * How a machine that is too large for the host is made smaller: whole GiB are
 * taken out of the middle of long stretches above 4 GiB, used or not, in which
 * there is no border of anything. What is left of a stretch has two GiB and
 * more. So all below 4 GiB stays as it is, and above it every border keeps its
 * place within its GiB and its order: TDMRs and their holes are as many, and
 * of the same shape.
 */
export interface Scale {
  /** Where an address of the large machine is in the small one. */
  readonly place: (address: number) => number
  /** Bytes that were taken out. */
  readonly removed: number
}

const KEPT_AS_IT_IS = 4 * GIB
/** With less between them, two borders could fall into one GiB. */
const LEAST = 2

/**
 * @param borders addresses that something begins or ends at
 * @param end of the memory, in the large machine
 * @param room bytes above 4 GiB that the memory may take
 * @returns undefined when it does not fit, however short the stretches are
 */
export const scaleTo = (
  borders: readonly number[],
  end: number,
  room: number,
): Scale | undefined => {
  const stretches = stretchesOf(borders, end)
  const length = (limit: number): number =>
    stretches.reduce((sum, stretch) => sum + shortened(stretch, limit), 0)
  const longest = Math.max(
    LEAST,
    ...stretches.map(({ start, end }) => Math.ceil((end - start) / GIB)),
  )
  if (length(LEAST) > room) return undefined
  let [fits, tooLong] = [LEAST, longest + 1]
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2)
    if (length(middle) <= room) fits = middle
    else tooLong = middle
  }
  const removed = stretches.map(stretch => ({
    ...stretch,
    bytes: stretch.end - stretch.start - shortened(stretch, fits),
  }))
  return {
    place: address =>
      removed.reduce(
        (placed, { start, end, bytes }) =>
          address >= end
            ? placed - bytes
            : // No border of the layout lies within; what does moves to its end.
              placed - Math.max(0, Math.min(bytes, address - start)),
        address,
      ),
    removed: removed.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}

/** What {@link scaleTo} needs at least. */
export const leastRoom = (borders: readonly number[], end: number): number =>
  stretchesOf(borders, end).reduce(
    (sum, stretch) => sum + shortened(stretch, LEAST),
    0,
  )

const stretchesOf = (borders: readonly number[], end: number): Range[] => {
  const sorted = [...new Set([KEPT_AS_IT_IS, ...borders, end])]
    .filter(border => border >= KEPT_AS_IT_IS && border <= end)
    .sort((a, b) => a - b)
  return sorted
    .slice(1)
    .map((border, i) => ({ start: sorted[i]!, end: border }))
}

/** Whole GiB are taken from what is longer than the limit, in GiB. */
const shortened = ({ start, end }: Range, limit: number): number => {
  const length = end - start
  const over = Math.floor(length / GIB) - limit
  return over > 0 ? length - over * GIB : length
}
