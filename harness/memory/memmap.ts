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

/** What is wrong with a value, and what would be right. */
export interface MapSyntaxError {
  /** The offending element. */
  readonly element: string
  readonly message: string
}

/**
 * What a kernel does with a value. It skips an element that it cannot read, and
 * does one with something behind it all the same, without a word in the log:
 * then there is an error as well.
 */
export type MapParse =
  | { readonly operations: readonly MapOperation[]; readonly error?: undefined }
  | {
      readonly operations: readonly MapOperation[]
      /** The first. */
      readonly error: MapSyntaxError
    }

/** An element as the kernel takes it. */
interface Element {
  /** Undefined: nothing happens. */
  readonly operation?: MapOperation
  /** Undefined: it is as it should be. */
  readonly problem?: string
}

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
 */
export const parseMemmap = (value: string): MapParse => {
  const operations: MapOperation[] = []
  let error: MapSyntaxError | undefined
  for (const element of value.split(',')) {
    const { operation, problem } = parseElement(element)
    if (operation) operations.push(operation)
    if (problem !== undefined) error ??= { element, message: problem }
  }
  return error ? { operations, error } : { operations }
}

const parseElement = (element: string): Element => {
  if (element.startsWith(EXACT))
    return {
      operation: { kind: 'exact' },
      ...(element !== EXACT && {
        problem: trailing(element.slice(EXACT.length)),
      }),
    }
  const size = memparse(element)
  if (!size) return { problem: `expected a size first; allowed: ${FORMS}` }
  const operator = size.rest[0]
  if (operator === '%' || ADDED_TYPES[operator ?? ''] !== undefined)
    return parseRange(size.value, operator!, size.rest.slice(1))
  if (size.value > PHYSICAL_LIMIT) return { problem: tooLarge(size.value) }
  const operation = { kind: 'limit' as const, size: Number(size.value) }
  return operator === undefined
    ? { operation }
    : {
        operation,
        problem: `unknown operator '${operator}': the kernel takes the size alone, and cuts off all memory from ${hex(operation.size)} on; allowed: ${FORMS}`,
      }
}

const EXACT = 'exactmap'

const parseRange = (size: bigint, operator: string, text: string): Element => {
  const address = memparse(text)
  const start = address?.value ?? 0n
  if (size === 0n)
    return { problem: 'the size is 0: the kernel would ignore it' }
  if (start + size > PHYSICAL_LIMIT) return { problem: tooLarge(start + size) }
  const range = { start: Number(start), end: Number(start + size) }
  const rest = address?.rest ?? text
  const missing = address
    ? {}
    : {
        problem: `expected an address after '${operator}', without one the kernel takes 0; allowed: ${FORMS}`,
      }
  if (operator === '%') {
    const parsed = parseRetype(range, rest)
    return typeof parsed === 'string'
      ? { problem: missing.problem ?? parsed }
      : { operation: parsed, ...missing }
  }
  return {
    operation: { kind: 'add', range, type: ADDED_TYPES[operator]! },
    ...(rest !== '' && { problem: trailing(rest) }),
    ...missing,
  }
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
  const error = (
    message: string,
    operations: readonly MapOperation[] = [],
  ): MapParse => ({ operations, error: { element: value, message } })
  if (!size || size.value === 0n)
    return error('expected a size such as 2G; the kernel would ignore this')
  if (size.value > PHYSICAL_LIMIT) return error(tooLarge(size.value))
  const operations = [{ kind: 'limit' as const, size: Number(size.value) }]
  return size.rest === ''
    ? { operations }
    : error(`unexpected '${size.rest}' at the end; expected a size`, operations)
}
