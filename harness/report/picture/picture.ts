import { formatSize, hex } from '../../base/units.ts'
import { type Range, formatRange, sizeOf } from '../../memory/range.ts'

/**
 * A memory map as a picture: lanes on one scale of addresses, before it is
 * known what it is drawn on.
 */

/** What a mark stands for; decides how it is drawn. */
export type MarkKind =
  | 'usable'
  | 'reserved'
  | 'acpi'
  | 'persistent'
  | 'unusable'
  | 'parameter'
  | 'node'
  | 'region'
  | 'tdmr'
  | 'hole'
  | 'pamt'
  | 'cmr'

/** A range in a lane. */
export interface Mark extends Range {
  readonly kind: MarkKind
  /** What it is, without its addresses: `node 0`, `ACPI NVS`, `TDMR 1`. */
  readonly name: string
  /** Number of the node or of the list entry; decides its colour or digit. */
  readonly number?: number
}

/** Where the two sides of a lane differ; an empty range is a border. */
export interface Difference extends Range {
  /** `extra` is built alone, `missing` predicted alone. */
  readonly kind: 'extra' | 'missing' | 'other' | 'border'
}

type Predictor = 'model' | 'scenario'

/** One row of marks. */
export interface Lane {
  readonly title: string
  /** Who says what is predicted. */
  readonly by: Predictor
  /** Whose it is; `both`: there is no other side to tell it from. */
  readonly side: 'predicted' | 'built' | 'both'
  readonly marks: readonly Mark[]
  /** On the built side of a pair. */
  readonly differences: readonly Difference[]
}

export interface Picture {
  readonly lanes: readonly Lane[]
  /** All addresses at which something begins or ends, ascending. */
  readonly borders: readonly number[]
}

/** What the model says and what was seen; null: not known. */
export interface Sides<T> {
  readonly predicted: readonly T[] | null
  readonly built: readonly T[] | null
}

/** A row of the picture, as predicted and as built. */
export interface Row extends Sides<Mark> {
  readonly title: string
  /** Default: the model. */
  readonly by?: Predictor
  /** Neither predicted nor built: asked for, or the platform's. */
  readonly asked?: boolean
}

/** Drawn from the rows that have something to show. */
export const pictureOf = (rows: readonly Row[]): Picture => {
  const whole = rows.map(row => ({
    ...row,
    predicted: row.predicted?.filter(isRange) ?? null,
    built: row.built?.filter(isRange) ?? null,
  }))
  // Of a layout that nobody booted all is predicted: it need not be said.
  const booted = whole.some(({ built }) => built && built.length > 0)
  const lanes = whole.flatMap(row => lanesOf(row, booted))
  const ranges = lanes.flatMap(({ marks, differences }) => [
    ...marks,
    ...differences,
  ])
  const borders = new Set(ranges.flatMap(({ start, end }) => [start, end]))
  return { lanes, borders: [...borders].sort((a, b) => a - b) }
}

/** Documents may come from anywhere. */
const isRange = ({ start, end }: Mark): boolean =>
  Number.isSafeInteger(start) && Number.isSafeInteger(end) && start < end

const lanesOf = (
  { title, by = 'model', asked = false, predicted, built }: Row,
  booted: boolean,
): Lane[] => {
  if (!predicted || !built) {
    const marks = predicted ?? built ?? []
    const side = predicted ? 'predicted' : 'built'
    const alone = { title, by, marks, differences: [] }
    return marks.length === 0
      ? []
      : [{ ...alone, side: booted && !asked ? side : 'both' }]
  }
  if (predicted.length === 0 && built.length === 0) return []
  return [
    { title, by, side: 'predicted', marks: predicted, differences: [] },
    {
      title,
      by,
      side: 'built',
      marks: built,
      differences: differencesOf(predicted, built),
    },
  ]
}

/** `TDX regions, predicted`; the title alone where there is no other side. */
export const laneName = ({ title, by, side }: Lane): string =>
  side === 'both'
    ? title
    : `${title}, ${side === 'built' || by === 'model' ? side : by}`

/** With what the built side of a lane is compared. */
export const comparedWith = ({ by }: Lane): string =>
  by === 'scenario' ? 'the scenario' : 'the prediction'

/** The lanes with pairs that agree made one. */
export const withoutTwins = ({ lanes }: Picture): Lane[] =>
  lanes.flatMap((lane, i): Lane[] => {
    const next = lanes[i + 1]
    if (lane.side === 'predicted' && next && isPair(lane, next))
      return next.differences.length === 0 ? [] : [lane]
    const before = lanes[i - 1]
    return lane.side === 'built' &&
      before &&
      isPair(before, lane) &&
      lane.differences.length === 0
      ? [{ ...lane, side: 'both' }]
      : [lane]
  })

const isPair = (predicted: Lane, built: Lane): boolean =>
  predicted.side === 'predicted' &&
  built.side === 'built' &&
  predicted.title === built.title &&
  predicted.by === built.by

/** Marks are the same when they are of one kind and called the same. */
const identity = (mark: Mark | undefined): string =>
  mark ? `${mark.kind} ${mark.name}` : ''

/**
 * Where one side has something that the other has not, or something else, and
 * the borders that only one side has.
 */
export const differencesOf = (
  predicted: readonly Mark[],
  built: readonly Mark[],
): Difference[] => {
  const borders = [
    ...new Set([...predicted, ...built].flatMap(m => [m.start, m.end])),
  ].sort((a, b) => a - b)
  const found: Difference[] = []
  const add = (difference: Difference): void => {
    const last = found.at(-1)
    if (last?.end === difference.start && last.kind === difference.kind)
      found[found.length - 1] = { ...last, end: difference.end }
    else found.push(difference)
  }
  const left = covering(predicted)
  const right = covering(built)
  for (const [i, start] of borders.entries()) {
    const one = left(start)
    const other = right(start)
    const end = borders[i + 1] ?? start
    if (identity(one) !== identity(other))
      add({ start, end, kind: !one ? 'extra' : other ? 'other' : 'missing' })
    else if ((one?.start === start) !== (other?.start === start))
      add({ start, end: start, kind: 'border' })
  }
  return found
}

/** What covers an address; asked in ascending order. */
const covering = (
  marks: readonly Mark[],
): ((address: number) => Mark | undefined) => {
  const sorted = marks
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start)
  let at = 0
  return address => {
    while (at < sorted.length && sorted[at]!.end <= address) at++
    const mark = sorted[at]
    return mark && mark.start <= address ? mark : undefined
  }
}

/** `[0x100000, 0x7ffe0000) node 0, 2096000K`. */
export const markText = (mark: Mark): string =>
  `${formatRange(mark)} ${mark.name}, ${formatSize(sizeOf(mark))}`

/** What is said of each kind of difference. */
export type DifferenceWords = Readonly<
  Record<Exclude<Difference['kind'], 'border'>, string>
>

const BUILT: DifferenceWords = {
  extra: 'not expected',
  missing: 'not built',
  other: 'built otherwise',
}

/** `[0x7ffe0000, 0x80000000), 128K, not built`. */
export const differenceText = (
  { kind, ...range }: Difference,
  words: DifferenceWords = BUILT,
): string =>
  kind === 'border'
    ? `a border at ${hex(range.start)}`
    : `${formatRange(range)}, ${formatSize(sizeOf(range))}, ${words[kind]}`
