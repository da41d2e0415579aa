import type { Verdict } from '../judge/context.ts'

/** What becomes of a cell, by what came of its boots. */

/** One boot of a cell that is over. */
export interface Tried {
  readonly verdict: Verdict
  /** What booted it: a worker for QEMU, or a host. */
  readonly machine: string
}

/** How often a cell is booted. */
export interface Policy {
  /** Boots of a cell that passes. */
  readonly repeat: number
  /** Of a failure: further boots on the machine that showed it. */
  readonly same: number
  /** Of a failure: further boots on another machine. */
  readonly elsewhere: number
  /** Faults of the rig before a cell is given up. */
  readonly errors: number
}

/**
 * `fail` and `invalid`: every boot of it that was judged; `flaky`: only some;
 * `unconfirmed`: it failed, and could not be repeated: the night was over, or
 * the rig failed each time;
 * `error`: the rig failed; `not run`: the night was over.
 */
export const CELL_CLASSES = [
  'pass',
  'fail',
  'invalid',
  'flaky',
  'unconfirmed',
  'error',
  'skip',
  'not run',
] as const
export type CellClass = (typeof CELL_CLASSES)[number]

/** What is done next. */
export type Step =
  | { readonly kind: 'settled'; readonly class: CellClass }
  | {
      readonly kind: 'boot'
      readonly reason: string
      /** The machine that is to boot it. */
      readonly only?: string
      /** A machine that must not. */
      readonly not?: string
    }

/** What is known of a cell when it is decided. */
export interface Situation {
  readonly policy: Policy
  /** There is a machine that can boot it, and it is not this one. */
  readonly hasOther: (machine: string) => boolean
  /** This machine still takes cases. */
  readonly isThere: (machine: string) => boolean
}

const isFailure = ({ verdict }: Tried): boolean =>
  verdict === 'fail' || verdict === 'invalid'

/**
 * What comes after these boots. A fault of the rig is no word about the kernel:
 * the cell is booted again, elsewhere if there is another machine. A failure is
 * called one when it showed itself again: on the same machine, and on another.
 *
 * @param tried boots that are over, in their order; none is under way
 */
export const decide = (tried: readonly Tried[], situation: Situation): Step => {
  const { policy } = situation
  const judged = tried.filter(({ verdict }) => verdict !== 'error')
  const errors = tried.filter(({ verdict }) => verdict === 'error')
  const last = tried.at(-1)
  if (errors.length > policy.errors)
    return { kind: 'settled', class: cutShort(tried) }
  if (last?.verdict === 'error')
    return situation.hasOther(last.machine)
      ? { kind: 'boot', reason: 'after an error', not: last.machine }
      : { kind: 'boot', reason: 'after an error' }
  if (judged.some(({ verdict }) => verdict === 'skip'))
    return { kind: 'settled', class: 'skip' }
  const first = judged.find(isFailure)
  if (first) return confirm(judged, first, situation)
  return judged.length < policy.repeat
    ? {
        kind: 'boot',
        reason: judged.length === 0 ? 'first' : `boot ${judged.length + 1}`,
      }
    : { kind: 'settled', class: 'pass' }
}

/** The boots that a failure is called one by. */
const confirm = (
  judged: readonly Tried[],
  first: Tried,
  { policy, hasOther, isThere }: Situation,
): Step => {
  const later = judged.slice(judged.indexOf(first) + 1)
  const same = later.filter(({ machine }) => machine === first.machine).length
  const elsewhere = later.length - same
  if (same < policy.same && isThere(first.machine))
    return { kind: 'boot', reason: 'same machine', only: first.machine }
  if (elsewhere < policy.elsewhere && hasOther(first.machine))
    return { kind: 'boot', reason: 'another machine', not: first.machine }
  // With one machine, or none but the other: as many boots all the same.
  if (later.length < policy.same && elsewhere === 0 && !isThere(first.machine))
    return { kind: 'boot', reason: 'again' }
  return { kind: 'settled', class: classOf(judged) }
}

/** Of boots that were judged, one at least of them a failure. */
const classOf = (judged: readonly Tried[]): CellClass => {
  const failures = judged.filter(isFailure)
  if (failures.length < judged.length) return 'flaky'
  return failures.every(({ verdict }) => verdict === 'invalid')
    ? 'invalid'
    : 'fail'
}

/** Of a cell that is not booted again, whatever is missing. */
export const cutShort = (tried: readonly Tried[]): CellClass => {
  const judged = tried.filter(({ verdict }) => verdict !== 'error')
  if (judged.length === 0) return tried.length === 0 ? 'not run' : 'error'
  if (!judged.some(isFailure)) return 'pass'
  return judged.every(isFailure) ? 'unconfirmed' : 'flaky'
}
