/**
 * When a verdict that may be luck is sure. A kernel without the fault never
 * fails; one with it fails at a rate that was seen at the bad end. So one
 * failure is proof, and passing is proof to a degree.
 */

/** Boots of a kernel that has the fault. */
export interface Seen {
  readonly boots: number
  readonly failed: number
}

/**
 * Lower estimate of how often a kernel with the fault fails: what was seen, as
 * if one boot more had passed.
 */
const failureRate = ({ boots, failed }: Seen): number => failed / (boots + 1)

/**
 * How many boots must pass before a kernel counts as one without the fault.
 *
 * @param confidence with which the fault would have shown itself by then
 * @throws RangeError when no boot failed
 */
export const passesNeeded = (seen: Seen, confidence: number): number => {
  const rate = failureRate(seen)
  if (rate <= 0) throw new RangeError('a fault that was not seen has no rate')
  return Math.ceil(Math.log(1 - confidence) / Math.log(1 - rate) - 1e-9)
}
