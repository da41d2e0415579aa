import { GIB, PAGE_SIZE, alignUp, hex, parseSize } from '../base/units.ts'
import { intersect, sizeOf, type NodeRange, type Range } from './range.ts'

/** Usable memory of a machine before any parameter, by the kernel's nodes. */
type PlacedMemory = readonly NodeRange[]

const BELOW_4G: Range = { start: 0, end: 4 * GIB }

/** What stands behind the sign of a memmap= element: `$@node1+1G`. */
const SYMBOLIC =
  /([@#$!])@(node\d{1,4}(?:-end)?|largest(?:-end)?|below4g-end)((?:[+-](?:0x[0-9a-f]+|\d+[KMGT]?))*)(?=,|$)/gi
/** Whatever stands where a place would. */
export const PLACE = /(?<=[@#$!])@[^,]*/g
const OFFSET = /([+-])(0x[0-9a-f]+|\d+[KMGT]?)/gi

const PLACE_NAMES =
  '@node0, @node0-end, @largest, @largest-end, @below4g-end, each with offsets such as +1G'

/** Some address of it is a place of the machine. */
export const hasPlace = (value: string): boolean => /[@#$!]@/.test(value)

/**
 * A value of memmap= with the places in it as addresses, so that one scenario
 * fits any machine. `@nodeN` and `@largest` are where the largest piece of
 * usable memory begins, of a node and of all, `-end` is where it ends, and
 * `@below4g-end` where memory below 4 GiB does.
 *
 * @returns the value as a kernel takes it, or why a place is nowhere
 */
export const resolvePlaces = (
  value: string,
  memory: PlacedMemory,
): { readonly value: string } | { readonly error: string } => {
  const errors: string[] = []
  const resolved = value.replaceAll(
    SYMBOLIC,
    (whole, sign: string, name: string, offsets: string) => {
      const base = placeOf(name.toLowerCase(), memory)
      if (base === undefined) {
        errors.push(`'${whole}': the machine has no such memory`)
        return whole
      }
      const address = withOffsets(base, offsets)
      const inside = memory.some(
        ({ start, end }) => address >= start && address <= end,
      )
      if (!inside)
        errors.push(
          `'${whole}' is ${address < 0 ? 'below 0' : hex(address)}, which is outside of the machine's memory`,
        )
      return sign + hex(Math.max(0, address))
    },
  )
  const [left] = resolved.match(PLACE) ?? []
  if (errors.length === 0 && left !== undefined)
    errors.push(`'${left}' is no place: expected one of ${PLACE_NAMES}`)
  return errors.length > 0 ? { error: errors.join('; ') } : { value: resolved }
}

const placeOf = (name: string, memory: PlacedMemory): number | undefined => {
  if (name === 'below4g-end')
    return memory
      .flatMap(range => intersect(range, BELOW_4G) ?? [])
      .reduce<number | undefined>(
        (end, range) => Math.max(end ?? 0, range.end),
        undefined,
      )
  const [, node] = /^node(\d+)/.exec(name) ?? []
  const piece = largest(
    node === undefined
      ? memory
      : memory.filter(range => range.node === Number(node)),
  )
  if (!piece) return undefined
  return name.endsWith('-end') ? piece.end : alignUp(piece.start, PAGE_SIZE)
}

const largest = (ranges: readonly Range[]): Range | undefined =>
  ranges.reduce<Range | undefined>(
    (best, range) => (best && sizeOf(best) >= sizeOf(range) ? best : range),
    undefined,
  )

const withOffsets = (base: number, offsets: string): number =>
  [...offsets.matchAll(OFFSET)].reduce(
    (address, [, sign, size = '0']) =>
      address + (sign === '-' ? -1 : 1) * (parseSize(size) ?? 0),
    base,
  )
