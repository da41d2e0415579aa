import { E820, type E820Entry } from '../memory/e820.ts'
import type { MapOperation } from '../memory/memmap.ts'
import { modelOf } from '../board/board.ts'
import type { Range } from '../memory/range.ts'
import type { MachineSpec } from '../scenario/machine-spec.ts'

/**
 * What an address is, found by looking at nothing but that address: another
 * way to the results of the model, which shares no code with it but the
 * parser of parameters and the tables that are read.
 */

/** Memory with the proximity domain of the table, in the order of nodes. */
export interface Affinity extends Range {
  readonly node: number
}

/** Nodes are numbered as their domains are met, CPUs first. */
export const affinityOf = ({
  board,
  memory,
  nodeCpus,
  firmware,
}: Pick<
  MachineSpec,
  'board' | 'memory' | 'nodeCpus' | 'firmware'
>): Affinity[] => {
  const srat = firmware.srat ?? modelOf(board).srat(memory, nodeCpus)
  if (!srat) return []
  const order = [
    ...new Set([...srat.cpus, ...srat.memory].map(({ domain }) => domain)),
  ]
  return srat.memory.map(({ start, end, domain }) => ({
    start,
    end,
    node: order.indexOf(domain),
  }))
}

/** The node of an address; undefined where no entry, or several, claim it. */
export const nodeAt = (
  address: number,
  affinity: readonly Affinity[],
): number | undefined => {
  const claims = new Set(
    affinity
      .filter(({ start, end }) => start <= address && address < end)
      .map(({ node }) => node),
  )
  return claims.size === 1 ? [...claims][0] : undefined
}

/**
 * The e820 type of one address.
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
