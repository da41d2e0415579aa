import { PHYSICAL_LIMIT, hex } from '../base/units.ts'
import { E820 } from './e820.ts'
import { memparse, parseUnsigned } from './memparse.ts'
import type { Range } from './range.ts'

/** What one element of `memmap=` (or a `mem=`) does to the e820 table. */
export type MapOperation =
  /** `exactmap`: forget the firmware's table. */
  | { readonly kind: 'exact' }
  /** `nn@ss`, `nn#ss`, `nn$ss`, `nn!ss`, `nn%ss+type`: append an entry. */
  | { readonly kind: 'add'; readonly range: Range; readonly type: number }
  /** `nn%ss-old+new`: give entries of type `from` another type. */
  | {
      readonly kind: 'retype'
      readonly range: Range
      readonly from: number
      readonly to: number
    }
  /** `nn%ss-old`, `nn%ss`: take addresses out, of one type or of all. */
  | { readonly kind: 'remove'; readonly range: Range; readonly type?: number }
  /** `memmap=nn`, `mem=nn`: no RAM from this address on. */
  | { readonly kind: 'limit'; readonly size: number }

/** A value the kernel would not take as it stands, and what it would take. */
export interface MapSyntaxError {
  /** The offending element. */
  readonly element: string
  readonly message: string
}

export type MapParse =
  | { readonly operations: readonly MapOperation[] }
  | { readonly error: MapSyntaxError }

const FORMS =
  'nn@ss (RAM), nn$ss (reserved), nn#ss (ACPI), nn!ss (persistent), ' +
  'nn%ss-oldtype+newtype, exactmap, or nn (limit)'

const ADDED_TYPES: Readonly<Record<string, number>> = {
  '@': E820.RAM,
  '#': E820.ACPI,
  $: E820.RESERVED,
  '!': E820.PRAM,
}

/**
 * The value of one `memmap=` parameter: a comma-separated list
 * (parse_memmap_opt() and parse_memmap_one(), arch/x86/kernel/e820.c).
 *
 * Stricter than the kernel, which silently skips an element it cannot read,
 * and half-applies one with trailing text: here both are errors.
 */
export const parseMemmap = (value: string): MapParse => {
  const operations: MapOperation[] = []
  for (const element of value.split(',')) {
    const parsed = parseElement(element)
    if (typeof parsed === 'string')
      return { error: { element, message: parsed } }
    operations.push(parsed)
  }
  return { operations }
}

const parseElement = (element: string): MapOperation | string => {
  if (element === 'exactmap') return { kind: 'exact' }
  const size = memparse(element)
  if (!size) return `expected a size first; allowed: ${FORMS}`
  if (size.rest === '') {
    return size.value <= PHYSICAL_LIMIT
      ? { kind: 'limit', size: Number(size.value) }
      : tooLarge(size.value)
  }
  const address = memparse(size.rest.slice(1))
  if (!address)
    return `expected an address after '${size.rest[0]}'; allowed: ${FORMS}`
  if (size.value === 0n) return 'the size is 0: the kernel would ignore it'
  const end = address.value + size.value
  if (end > PHYSICAL_LIMIT) return tooLarge(end)
  const range = { start: Number(address.value), end: Number(end) }
  return withRange(size.rest[0]!, range, address.rest)
}

const withRange = (
  operator: string,
  range: Range,
  rest: string,
): MapOperation | string => {
  if (operator === '%') return parseRetype(range, rest)
  const type = ADDED_TYPES[operator]
  if (type === undefined)
    return `unknown operator '${operator}'; allowed: ${FORMS}`
  return rest === '' ? { kind: 'add', range, type } : trailing(rest)
}

const parseRetype = (range: Range, text: string): MapOperation | string => {
  let rest = text
  const number = (sign: string): number => {
    if (!rest.startsWith(sign)) return 0
    const parsed = parseUnsigned(rest.slice(1))
    if (!parsed) return 0
    rest = parsed.rest
    return Number(BigInt.asUintN(32, parsed.value))
  }
  const from = number('-')
  const to = number('+')
  if (rest !== '') return trailing(rest)
  if (from && to) {
    // e820__range_update() has a BUG_ON() for this one.
    if (from === to) return `old and new type are both ${from}`
    return { kind: 'retype', range, from, to }
  }
  if (to) return { kind: 'add', range, type: to }
  return from
    ? { kind: 'remove', range, type: from }
    : { kind: 'remove', range }
}

const trailing = (rest: string): string =>
  `unexpected '${rest}' at the end; allowed: ${FORMS}`

const tooLarge = (value: bigint): string =>
  `${hex(value)} is beyond the ${hex(PHYSICAL_LIMIT)} a physical address can reach`

/** The value of `mem=` (parse_memopt(), arch/x86/kernel/e820.c). */
export const parseMem = (value: string): MapParse => {
  const size = memparse(value)
  const error = (message: string): MapParse => ({
    error: { element: value, message },
  })
  if (!size || size.value === 0n)
    return error('expected a size such as 2G; the kernel would ignore this')
  if (size.rest !== '')
    return error(`unexpected '${size.rest}' at the end; expected a size`)
  if (size.value > PHYSICAL_LIMIT) return error(tooLarge(size.value))
  return { operations: [{ kind: 'limit', size: Number(size.value) }] }
}
