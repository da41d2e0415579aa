import { E820, type E820Entry } from '../memory/e820.ts'
import type { MapOperation } from '../memory/memmap.ts'
import type { Range } from '../memory/range.ts'

/**
 * The e820 type of one address, found by looking at nothing but that address:
 * another way to the same result, which shares no code with the model.
 *
 * @param e820 the firmware's table, in any order
 * @returns 0 where no entry is
 */
export const typeAt = (
  address: number,
  e820: readonly E820Entry[],
  operations: readonly MapOperation[],
): number => {
  const covers = ({ start, end }: Range): boolean =>
    start <= address && address < end
  const firmware = largest(e820.filter(covers).map(({ type }) => type))
  return largest(
    operations.reduce(
      (types, operation) => applyAt(types, operation, address, covers),
      firmware > 0 ? [firmware] : [],
    ),
  )
}

const largest = (types: readonly number[]): number => Math.max(0, ...types)

const applyAt = (
  types: number[],
  operation: MapOperation,
  address: number,
  covers: (range: Range) => boolean,
): number[] => {
  switch (operation.kind) {
    case 'exact':
      return []
    case 'add':
      return covers(operation.range) ? [...types, operation.type] : types
    case 'limit':
      return address < operation.size
        ? types
        : types.filter(type => type !== E820.RAM)
    case 'remove':
      return covers(operation.range)
        ? types.filter(
            type => operation.type !== undefined && type !== operation.type,
          )
        : types
    case 'retype':
      return covers(operation.range)
        ? types.map(type => (type === operation.from ? operation.to : type))
        : types
  }
}
