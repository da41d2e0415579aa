import { KIB, PHYSICAL_LIMIT, formatSize, hex } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import {
  kernelWords,
  memoryParameters,
  parseCmdline,
} from '../memory/cmdline.ts'
import { E820, type E820Entry, usable } from '../memory/e820.ts'
import {
  type MapOperation,
  type MapParse,
  parseMem,
  parseMemmap,
} from '../memory/memmap.ts'
import {
  type Range,
  formatRange,
  intersect,
  sizeOf,
  subtract,
  totalSize,
} from '../memory/range.ts'
import { type Effect, otherEffect } from './asked-others.ts'
import { mapOf, startMap } from './log-map.ts'

/** A memory parameter of a log, and whether the kernel did what it says. */
export interface AskedMemory {
  readonly word: string
  /** `unknown`: the log does not show it. */
  readonly effect: Effect['effect']
  /** One sentence, with the parameter in it. */
  readonly text: string
}

/**
 * Each parameter of memory on the command line, in its order. That one had no
 * effect is said by lines that are there, and never by lines that are not: logs
 * go through filters.
 */
export const askedMemory = (facts: Facts): AskedMemory[] =>
  kernelWords(facts.cmdline ?? '').flatMap(word => {
    const [{ name, value = '' } = { name: '' }] = parseCmdline(word)
    const found =
      name === 'mem' || name === 'memmap'
        ? mapEffect(
            name === 'mem' ? parseMem(value) : parseMemmap(value),
            facts,
          )
        : otherEffect(name, value, facts)
    return found
      ? [{ word, effect: found.effect, text: textOf(word, found) }]
      : []
  })

const mapEffect = ({ operations, error }: MapParse, facts: Facts): Effect =>
  operations.length > 0
    ? worst(operations.map(one => effectOf(one, facts)))
    : { effect: 'no', ...(error && { why: error.message }) }

const WORDS: Readonly<Record<AskedMemory['effect'], string>> = {
  yes: 'took effect',
  no: 'had no effect',
  partly: 'took effect in part',
  unknown: 'may have taken effect or not',
}

const textOf = (word: string, { effect, why }: Effect): string =>
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

const NOT_THERE: Effect = {
  effect: 'unknown',
  why: 'the user-defined map has nothing there, and lines of it may be missing',
}

const NOT_TOLD: Effect = {
  effect: 'unknown',
  why: 'other parameters add memory, and which is whose is not told',
}

const effectOf = (operation: MapOperation, facts: Facts): Effect => {
  const { userMap, nodeRanges } = facts
  if (userMap && userMap.length > 0) return seenIn(operation, userMap, facts)
  if (operation.kind === 'limit') {
    const more = moreThan(operation.size, facts)
    if (more) return more
  }
  const taken = takenAway(operation)
  // Another parameter may have put memory there again.
  if (!taken || /memmap=\S*@/.test(facts.cmdline ?? '')) return UNKNOWN
  const left = nodeRanges.flatMap(range => intersect(range, taken) ?? [])
  return left.length === 0
    ? UNKNOWN
    : {
        effect: 'no',
        why: `${left.map(formatRange).join(' ')} is memory of a node`,
      }
}

/** What is no memory any more behind an operation; undefined: it adds some. */
const takenAway = (operation: MapOperation): Range | undefined => {
  switch (operation.kind) {
    case 'limit':
      return { start: operation.size, end: PHYSICAL_LIMIT }
    case 'add':
      return operation.type === E820.RAM ? undefined : operation.range
    case 'exact':
    case 'remove':
    case 'retype':
      return undefined
  }
}

/** RAM that the command line itself adds; undefined: it cannot be told. */
const addedRam = ({ cmdline }: Facts): Range[] | undefined => {
  const { operations } = memoryParameters(cmdline ?? '')
  const isOpen =
    /(?:^|\s)add_efi_memmap(?:\s|$)/.test(cmdline ?? '') ||
    operations.some(one => one.kind === 'retype' && one.to === E820.RAM)
  return isOpen
    ? undefined
    : operations.flatMap(one =>
        one.kind === 'add' && one.type === E820.RAM ? [one.range] : [],
      )
}

/** The kernel has more memory than a limit leaves. */
const moreThan = (size: number, facts: Facts): Effect | undefined => {
  const { presentKib } = facts
  return presentKib !== null &&
    presentKib * KIB > size &&
    addedRam(facts)?.length === 0
    ? { effect: 'no', why: `the kernel has ${formatSize(presentKib * KIB)}` }
    : undefined
}

/**
 * An entry of the kernel's map ends where the firmware's goes on: whatever
 * lines a filter has taken, something was cut there, and nothing else on the
 * command line has a border at that place.
 */
const isCutAt = (
  border: number,
  userMap: readonly E820Entry[],
  facts: Facts,
): boolean =>
  startMap(facts)?.of === 'firmware' &&
  mapOf(facts).some(({ start, end }) => start < border && border < end) &&
  userMap.some(({ start, end }) => start === border || end === border) &&
  memoryParameters(facts.cmdline ?? '').operations.filter(one =>
    bordersOf(one).includes(border),
  ).length === 1

const bordersOf = (operation: MapOperation): number[] => {
  switch (operation.kind) {
    case 'exact':
      return []
    case 'limit':
      return [operation.size]
    case 'add':
    case 'remove':
    case 'retype':
      return [operation.range.start, operation.range.end]
  }
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
    case 'add':
      return added(operation, userMap)
    case 'remove':
    case 'retype': {
      const { range } = operation
      const old = operation.kind === 'remove' ? operation.type : operation.from
      const left = userMap.flatMap(entry =>
        old === undefined || entry.type === old
          ? (intersect(entry, range) ?? [])
          : [],
      )
      if (left.length > 0)
        return {
          effect: 'no',
          why: `${left.map(formatRange).join(' ')} is in the user-defined map as before`,
        }
      const isRetyped =
        operation.kind === 'retype' &&
        userMap.some(entry => {
          const changed = intersect(entry, range)
          return (
            entry.type === operation.to &&
            changed !== undefined &&
            startMap(facts)?.of === 'firmware' &&
            mapOf(facts).some(
              before =>
                before.type === operation.from && intersect(before, changed),
            )
          )
        })
      return isRetyped ||
        isCutAt(range.start, userMap, facts) ||
        isCutAt(range.end, userMap, facts)
        ? { effect: 'yes' }
        : NOT_THERE
    }
  }
}

const added = (
  { range, type }: Extract<MapOperation, { kind: 'add' }>,
  userMap: readonly E820Entry[],
): Effect => {
  const missing = subtract(
    range,
    userMap.filter(entry => entry.type === type),
  )
  if (missing.length === 0) return { effect: 'yes' }
  const others = userMap.flatMap(entry =>
    entry.type === type ? [] : (intersect(entry, range) ?? []),
  )
  if (others.length === 0)
    return {
      effect: 'unknown',
      why: `the user-defined map has no entry for ${missing.map(formatRange).join(' ')}`,
    }
  return {
    effect: totalSize(missing) === sizeOf(range) ? 'no' : 'partly',
    why: `${others.map(formatRange).join(' ')} is of another type in the user-defined map`,
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
  const added = addedRam(facts)
  const left = above(userMap).flatMap(range => subtract(range, added ?? []))
  if (left.length > 0 && added === undefined) return NOT_TOLD
  if (left.length === 0) {
    const { presentKib } = facts
    const isSure =
      (presentKib !== null && presentKib * KIB <= size) ||
      isCutAt(size, userMap, facts)
    return moreThan(size, facts) ?? (isSure ? { effect: 'yes' } : NOT_THERE)
  }
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
