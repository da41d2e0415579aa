import { PHYSICAL_LIMIT, sizeText } from '../../base/units.ts'
import {
  kernelWords,
  memoryParameters,
  parseCmdline,
} from '../../memory/cmdline.ts'
import type { MapOperation } from '../../memory/memmap.ts'
import { type Range, overlaps, subtract } from '../../memory/range.ts'
import type { Mark, MarkKind, Row, Sides } from './picture.ts'

/** The rows of a memory map, in the order in which a kernel makes them. */

export interface NamedRange extends Range {
  /** As the kernel prints it: `usable`, `ACPI NVS`. */
  readonly type: string
}

export interface OnNode extends Range {
  readonly node: number
}

export interface DrawnTdmr extends Range {
  /** Reserved areas, absolute. */
  readonly reserved: readonly Range[]
  /** Where its PAMTs lie; empty: not known. */
  readonly pamts: readonly Range[]
}

/** All that can be drawn of one machine. */
export interface Drawn {
  /** The effective command line. */
  readonly cmdline: string
  readonly firmwareMap: Sides<NamedRange>
  /** After the command line; null: it changes nothing. */
  readonly userMap: Sides<NamedRange>
  readonly memblock: Sides<OnNode>
  readonly regions: Sides<OnNode>
  /** What the scenario itself wants; null: what the model predicts. */
  readonly expectedRegions: readonly OnNode[] | null
  readonly tdmrs: Sides<DrawnTdmr>
  readonly cmrs: Sides<Range>
}

export const rowsOf = (drawn: Drawn): Row[] => {
  const { regions, expectedRegions, tdmrs } = drawn
  const memory = [
    row('firmware e820', drawn.firmwareMap, entryMark),
    row('user e820', drawn.userMap, entryMark),
    row('memblock', drawn.memblock, nodeMark),
    row('TDX regions', regions, regionMark),
    ...(expectedRegions
      ? [
          {
            ...row(
              'TDX regions',
              { predicted: expectedRegions, built: regions.built },
              regionMark,
            ),
            by: 'scenario' as const,
          },
        ]
      : []),
    row('TDMRs', tdmrs, tdmrMark),
    reservedRow(tdmrs),
    {
      title: 'PAMTs',
      predicted: null,
      built: tdmrs.built?.flatMap(pamtMarks) ?? null,
    },
    // What the platform says: a kernel may print them, and builds none.
    { ...row('CMRs', drawn.cmrs, cmrMark), asked: true },
  ]
  const end = endOf(memory)
  const parameters = parameterMarks(drawn.cmdline).flatMap(mark =>
    // `mem=` names no end: it reaches as far as the memory.
    mark.end < PHYSICAL_LIMIT
      ? [mark]
      : mark.start < end
        ? [{ ...mark, end }]
        : [],
  )
  return [
    memory[0]!,
    { title: 'parameters', asked: true, predicted: parameters, built: null },
    ...memory.slice(1),
  ]
}

const endOf = (rows: readonly Row[]): number =>
  rows
    .flatMap(({ predicted, built }) => [...(predicted ?? []), ...(built ?? [])])
    .reduce((end, mark) => Math.max(end, mark.end), 0)

const row = <T>(
  title: string,
  { predicted, built }: Sides<T>,
  mark: (item: T, index: number) => Mark,
): Row => ({
  title,
  predicted: predicted?.map(mark) ?? null,
  built: built?.map(mark) ?? null,
})

/** How e820 types are drawn; whatever else there is, is reserved. */
const KINDS: readonly (readonly [start: string, kind: MarkKind])[] = [
  ['usable', 'usable'],
  ['ACPI', 'acpi'],
  ['persistent', 'persistent'],
  ['soft reserved', 'persistent'],
  ['unusable', 'unusable'],
]

const entryMark = ({ start, end, type }: NamedRange): Mark => ({
  start,
  end,
  name: type,
  kind: KINDS.find(([prefix]) => type.startsWith(prefix))?.[1] ?? 'reserved',
})

const nodeMark = ({ start, end, node }: OnNode): Mark => ({
  start,
  end,
  kind: 'node',
  name: node < 0 ? 'no node' : `node ${node}`,
  number: node,
})

/** Colours follow the node, as in the row above. */
const regionMark = (range: OnNode): Mark => ({
  ...nodeMark(range),
  kind: 'region',
})

export const regionMarks = (regions: readonly OnNode[]): Mark[] =>
  regions.map(regionMark)

const tdmrMark = ({ start, end }: DrawnTdmr, index: number): Mark => ({
  start,
  end,
  kind: 'tdmr',
  name: `TDMR ${index}`,
  number: index,
})

const cmrMark = ({ start, end }: Range): Mark => ({
  start,
  end,
  kind: 'cmr',
  name: 'convertible',
})

const pamtMarks = ({ pamts }: DrawnTdmr, index: number): Mark[] =>
  pamts.map(({ start, end }) => ({
    start,
    end,
    kind: 'pamt',
    name: `PAMT of TDMR ${index}`,
    number: index,
  }))

/**
 * Where PAMTs lie is not predicted, so what is reserved around those that were
 * built is left out on both sides.
 */
const reservedRow = ({ predicted, built }: Drawn['tdmrs']): Row => {
  const pamts = built?.flatMap(tdmr => tdmr.pamts) ?? []
  const holes = (tdmrs: readonly DrawnTdmr[]): Mark[] =>
    tdmrs.flatMap(({ reserved }) =>
      reserved
        .flatMap(area => subtract(area, pamts))
        .map(({ start, end }): Mark => ({
          start,
          end,
          kind: 'hole',
          name: 'reserved area',
        })),
    )
  return {
    title: 'reserved areas',
    predicted: predicted && holes(predicted),
    built: built && holes(built),
  }
}

/** What `mem=` and `memmap=` name, each with the element as it is written. */
export const parameterMarks = (cmdline: string): Mark[] =>
  kernelWords(cmdline).flatMap(word => {
    const [parameter] = parseCmdline(word)
    const { operations } = memoryParameters(word)
    const elements = parameter?.value?.split(',') ?? []
    return operations.flatMap((operation, i) => {
      const range = rangeOf(operation)
      if (!range) return []
      return [
        {
          ...range,
          kind: 'parameter' as const,
          name: `${parameter!.name}=${elements[i] ?? ''}`,
        },
      ]
    })
  })

const rangeOf = (operation: MapOperation): Range | undefined => {
  if (operation.kind === 'exact') return undefined
  return operation.kind === 'limit'
    ? { start: operation.size, end: PHYSICAL_LIMIT }
    : operation.range
}

/** Parameters that name memory in a range, as they are written. */
export const parametersAt = (cmdline: string, range: Range): string[] => {
  const place = {
    start: range.start,
    end: Math.max(range.end, range.start + 1),
  }
  return parameterMarks(cmdline)
    .filter(mark => overlaps(mark, place))
    .map(({ name }) => name)
}

/** `2G`, `640K`, `0x9fc00`: for axes. */
export const addressText = (address: number): string =>
  address === 0 ? '0' : sizeText(address)
