import type { Reason } from './context.ts'

/** The first place where two lists differ, in words. */
export interface Difference {
  readonly message: string
  readonly expected: string
  readonly found: string
  /** Of the console, where what was found has one. */
  readonly line?: number
}

/** Two lists, and how to speak of them. */
interface Compared<T> {
  /** One element, for the message: `region`. */
  readonly what: string
  readonly expected: readonly T[]
  readonly found: readonly T[]
  /** How an element is shown; equal text is equal. */
  readonly format: (element: T) => string
}

/** Undefined when the lists are the same. */
export const firstDifference = <T>({
  what,
  expected,
  found,
  format,
}: Compared<T>): Difference | undefined => {
  const length = Math.max(expected.length, found.length)
  for (let i = 0; i < length; i++) {
    const left = textAt(expected, i, format)
    const right = textAt(found, i, format)
    if (left === right) continue
    const counts =
      expected.length === found.length
        ? ''
        : ` (${expected.length} expected, ${found.length} found)`
    const line = lineOf(found[i] ?? found.at(-1))
    return {
      message: `${what} ${i} differs${counts}: expected ${left}, found ${right}`,
      expected: left,
      found: right,
      ...(line !== undefined && { line }),
    }
  }
  return undefined
}

const textAt = <T>(
  list: readonly T[],
  index: number,
  format: (element: T) => string,
): string => (index < list.length ? format(list[index]!) : 'none')

/** Facts of a console know their line. */
const lineOf = (element: unknown): number | undefined =>
  typeof element === 'object' &&
  element !== null &&
  'line' in element &&
  typeof element.line === 'number'
    ? element.line
    : undefined

/** What a difference is a reason of. */
interface Differing {
  readonly kind: Reason['kind']
  readonly check: string
  readonly what: string
}

/** A difference as a reason, or nothing when there is none. */
export const differing = (
  { kind, check, what }: Differing,
  difference: Difference | undefined,
): Reason[] =>
  difference
    ? [
        {
          ...difference,
          kind,
          check,
          message: `${what}: ${difference.message}`,
        },
      ]
    : []
