import { hex } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import { kernelWords, parseCmdline } from '../memory/cmdline.ts'
import { type E820Entry, usable } from '../memory/e820.ts'
import { type MapOperation, parseMem, parseMemmap } from '../memory/memmap.ts'
import {
  type Range,
  formatRange,
  intersect,
  subtract,
} from '../memory/range.ts'
import { PHYSICAL_LIMIT } from '../base/units.ts'
import { mapOf, startMap } from './log-map.ts'

/** A memory parameter of a log, and whether the kernel did what it says. */
export interface AskedMemory {
  readonly word: string
  /** `unknown`: the log does not show it. */
  readonly effect: 'yes' | 'no' | 'partly' | 'unknown'
  /** One sentence, with the parameter in it. */
  readonly text: string
}

type Effect = Pick<AskedMemory, 'effect'> & { readonly why?: string }

/** Each `mem=` and `memmap=` of the command line, in its order. */
export const askedMemory = (facts: Facts): AskedMemory[] =>
  kernelWords(facts.cmdline ?? '').flatMap(word => {
    const [{ name, value = '' } = { name: '' }] = parseCmdline(word)
    if (name !== 'mem' && name !== 'memmap') return []
    const { operations, error } =
      name === 'mem' ? parseMem(value) : parseMemmap(value)
    const { effect, why } =
      operations.length === 0
        ? { effect: 'no' as const, why: error?.message }
        : worst(operations.map(one => effectOf(one, facts)))
    return [{ word, effect, text: textOf(word, effect, why) }]
  })

const WORDS: Readonly<Record<AskedMemory['effect'], string>> = {
  yes: 'took effect',
  no: 'had no effect',
  partly: 'took effect in part',
  unknown: 'may have taken effect or not',
}

const textOf = (
  word: string,
  effect: AskedMemory['effect'],
  why: string | undefined,
): string =>
  `${word.slice(0, 200)} ${WORDS[effect]}${why === undefined ? '' : `: ${why}`}`

const ORDER: readonly AskedMemory['effect'][] = [
  'no',
  'partly',
  'unknown',
  'yes',
]

/** A list took effect when all of it did; of several the worst is told. */
const worst = (effects: readonly Effect[]): Effect => {
  const sorted = effects.toSorted(
    (a, b) => ORDER.indexOf(a.effect) - ORDER.indexOf(b.effect),
  )
  const [first] = sorted
  const isMixed =
    first?.effect === 'no' && sorted.some(({ effect }) => effect === 'yes')
  return isMixed ? { ...first, effect: 'partly' } : first!
}

const UNKNOWN: Effect = {
  effect: 'unknown',
  why: "the log has no user-defined map ('user:') to see it in",
}

const effectOf = (operation: MapOperation, facts: Facts): Effect => {
  const { userMap, nodeRanges, whole } = facts
  if (userMap && userMap.length > 0) return seenIn(operation, userMap, facts)
  // It is printed before the nodes are.
  return nodeRanges.length > 0 && whole.map
    ? {
        effect: 'no',
        why: "the kernel printed no user-defined map ('user:')",
      }
    : UNKNOWN
}

const seenIn = (
  operation: MapOperation,
  userMap: readonly E820Entry[],
  facts: Facts,
): Effect => {
  switch (operation.kind) {
    case 'exact':
      return { effect: 'yes' }
    case 'limit':
      return limited(operation.size, userMap, facts)
    case 'add': {
      const { range, type } = operation
      const missing = subtract(
        range,
        userMap.filter(entry => entry.type === type),
      )
      return ofMissing(range, missing, 'is not so in the user-defined map')
    }
    case 'remove':
    case 'retype': {
      const { range } = operation
      const old = operation.kind === 'remove' ? operation.type : operation.from
      const left = userMap.flatMap(entry =>
        old === undefined || entry.type === old
          ? (intersect(entry, range) ?? [])
          : [],
      )
      return left.length === 0
        ? { effect: 'yes' }
        : {
            effect: 'no',
            why: `${left.map(formatRange).join(' ')} is in the user-defined map as before`,
          }
    }
  }
}

const ofMissing = (
  range: Range,
  missing: readonly Range[],
  what: string,
): Effect => {
  if (missing.length === 0) return { effect: 'yes' }
  const isAll =
    missing.length === 1 &&
    missing[0]!.start === range.start &&
    missing[0]!.end === range.end
  return {
    effect: isAll ? 'no' : 'partly',
    why: `${missing.map(formatRange).join(' ')} ${what}`,
  }
}

const limited = (
  size: number,
  userMap: readonly E820Entry[],
  facts: Facts,
): Effect => {
  const above = (map: readonly E820Entry[]): Range[] =>
    usable(map).flatMap(
      range => intersect(range, { start: size, end: PHYSICAL_LIMIT }) ?? [],
    )
  const left = above(userMap)
  if (left.length === 0) return { effect: 'yes' }
  const before = startMap(facts)?.of === 'firmware' ? above(mapOf(facts)) : []
  const isSame =
    before.length === left.length &&
    before.every(
      ({ start, end }, i) => left[i]!.start === start && left[i]!.end === end,
    )
  return isSame
    ? {
        effect: 'no',
        why: `from ${hex(size)} on the kernel's user-defined map equals the firmware's (${left.map(formatRange).join(' ')})`,
      }
    : {
        effect: 'partly',
        why: `${left.map(formatRange).join(' ')} is memory all the same`,
      }
}
