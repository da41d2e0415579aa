import type { Reason } from './context.ts'

/** The first place where two lists differ, in words. */
export interface Difference {
  readonly message: string
  readonly expected: string
  readonly found: string
}

/**
 * @param what one element, for the message: `region`
 * @param format how an element is shown; equal text is equal
 */
export const firstDifference = <T>(
  what: string,
  expected: readonly T[],
  found: readonly T[],
  format: (element: T) => string,
): Difference | undefined => {
  const length = Math.max(expected.length, found.length)
  for (let i = 0; i < length; i++) {
    const left = textAt(expected, i, format)
    const right = textAt(found, i, format)
    if (left === right) continue
    const counts =
      expected.length === found.length
        ? ''
        : ` (${expected.length} expected, ${found.length} found)`
    return {
      message: `${what} ${i} differs${counts}: expected ${left}, found ${right}`,
      expected: left,
      found: right,
    }
  }
  return undefined
}

const textAt = <T>(
  list: readonly T[],
  index: number,
  format: (element: T) => string,
): string => (index < list.length ? format(list[index]!) : 'none')

/** A difference as a reason, or nothing when there is none. */
export const differing = (
  kind: Reason['kind'],
  check: string,
  what: string,
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
