import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { formatSize, hex } from '../../base/units.ts'
import { type Range, sizeOf } from '../../memory/range.ts'
import { type Label, placeLabels } from './labels.ts'
import {
  type Lane,
  type Mark,
  type Picture,
  comparedWith,
  differenceText,
  laneName,
  markText,
} from './picture.ts'
import { addressText } from './rows.ts'
import { type Scale, makeScale } from './scale.ts'

/** A picture as SVG. Exact ranges appear on hover and on keyboard focus. */

const TITLE = 185
const LANE = 18
/** Between lanes of a pair, and between others. */
const NEAR = 1
const FAR = 7
/** Where the exact range of a mark is shown. */
const CAPTION = 20
const LABEL = 14
/** Width of a character; texts are set to it, whatever font is there. */
const CHARACTER = 6.2
/** Narrowest range. */
const LEAST = 3
const WIDTH = 1000
const MARGIN = 6

export interface MemoryMapProps {
  readonly picture: Picture
  /** For those who do not see it. */
  readonly title: string
}

/** A lane and where it stands. */
interface Placed {
  readonly lane: Lane
  readonly y: number
}

export const MemoryMap = ({
  picture,
  title,
}: MemoryMapProps): JSX.Element | null => {
  const { lanes, borders } = picture
  if (borders.length < 2) return null
  const scale = makeScale(borders, {
    width: WIDTH - TITLE,
    least: LEAST,
    most: 0.3,
  })
  const placed = placeLanes(lanes)
  const bottom = CAPTION + heightOf(placed)
  const labels = placeLabels(labelsOf(picture, scale), {
    width: scale.width,
    rows: 4,
  })
  const axis = placeLabels(ticksOf(borders, scale), {
    width: scale.width,
    rows: 2,
  })
  const axisRows = rowsIn(axis)
  const calls = bottom + axisRows * LABEL + 6
  const height = calls + rowsIn(labels) * LABEL + MARGIN
  const width = TITLE + scale.width + MARGIN
  return (
    <svg
      class="map"
      viewBox={`0 0 ${round(width)} ${round(height)}`}
      width={round(width)}
      height={round(height)}
      role="group"
      tabindex={0}
      aria-label={`${title}; arrow keys go from range to range`}
      xmlns="http://www.w3.org/2000/svg"
    >
      {placed.map(({ lane, y }) => (
        <LaneRow
          key={`${lane.title} ${lane.by} ${lane.side}`}
          lane={lane}
          y={y}
          scale={scale}
        />
      ))}
      <Folds scale={scale} bottom={bottom} />
      {axis.map(label => (
        <Text
          key={label.text}
          x={TITLE + label.at}
          y={bottom + (label.row + 1) * LABEL - 2}
          text={label.text}
          kind="tick"
          from={{ x: TITLE + label.anchor, y: bottom }}
        />
      ))}
      {labels.map(label => (
        <Text
          key={`${label.text} ${label.anchor}`}
          x={TITLE + label.at}
          y={calls + (label.row + 1) * LABEL - 2}
          text={label.text}
          kind={label.kind}
          from={{ x: TITLE + label.anchor, y: bottom }}
        />
      ))}
    </svg>
  )
}

const round = (value: number): number => Math.round(value * 10) / 10

const rowsIn = (labels: readonly { readonly row: number }[]): number =>
  labels.reduce((most, { row }) => Math.max(most, row + 1), 0)

const placeLanes = (lanes: readonly Lane[]): Placed[] => {
  let y = CAPTION
  return lanes.map(lane => {
    const placed = { lane, y }
    y += LANE + (lane.side === 'predicted' ? NEAR : FAR)
    return placed
  })
}

const heightOf = (placed: readonly Placed[]): number =>
  placed.length === 0 ? 0 : placed.at(-1)!.y + LANE - CAPTION + NEAR

interface LaneRowProps extends Placed {
  readonly scale: Scale
}

const LaneRow = ({ lane, y, scale }: LaneRowProps): JSX.Element => (
  <g class={`lane ${lane.side}`}>
    <text class="title" x={0} y={y + 13}>
      {laneName(lane)}
    </text>
    <line
      class="ground"
      x1={TITLE}
      x2={round(TITLE + scale.width)}
      y1={y + LANE / 2}
      y2={y + LANE / 2}
    />
    {lane.marks.map(mark => (
      <MarkBox
        key={`${mark.start} ${mark.end} ${mark.name}`}
        box={boxOf(mark, scale)}
        y={y}
        kind={markClass(mark)}
        text={`${laneName(lane)}: ${visible(markText(mark))}`}
        name={mark.kind === 'node' || mark.kind === 'region' ? mark.name : ''}
      />
    ))}
    {lane.differences.map(difference => (
      <MarkBox
        key={`differs ${difference.start} ${difference.end}`}
        box={boxOf(difference, scale)}
        y={y}
        kind="differs"
        text={`${laneName(lane)} differs from ${comparedWith(lane)}: ${differenceText(difference)}`}
        name=""
      />
    ))}
  </g>
)

/** Eight colours go around; a name is there beside them. */
const markClass = ({ kind, number }: Mark): string =>
  `${kind}${number === undefined || number < 0 ? '' : ` n${number % 8}`}`

interface Box {
  readonly x: number
  readonly width: number
}

const boxOf = ({ start, end }: Range, scale: Scale): Box => {
  const x = TITLE + scale.at(start)
  return { x, width: Math.max(2, TITLE + scale.at(end) - x) }
}

interface MarkBoxProps {
  readonly box: Box
  readonly y: number
  readonly kind: string
  readonly text: string
  /** Written into it where there is room. */
  readonly name: string
}

const MarkBox = ({ box, y, kind, text, name }: MarkBoxProps): JSX.Element => (
  <g class="mark" tabindex={-1} role="img" aria-label={text}>
    <title>{text}</title>
    <rect
      class={kind}
      x={round(box.x)}
      y={y}
      width={round(box.width)}
      height={LANE}
    />
    {name !== '' && box.width > name.length * CHARACTER + 6 && (
      <text class="name" x={round(box.x + box.width / 2)} y={y + 13}>
        {name}
      </text>
    )}
    <text class="tip" x={TITLE} y={CAPTION - 7}>
      {text}
    </text>
  </g>
)

/** Where the scale is interrupted, through all lanes. */
const Folds = ({
  scale,
  bottom,
}: {
  readonly scale: Scale
  readonly bottom: number
}): JSX.Element => (
  <g class="folds">
    {scale.segments
      .filter(({ folded }) => folded)
      .map(({ start, end, at, width }) => {
        const x = round(TITLE + at + width / 2)
        return (
          <g key={start}>
            <title>{`not to scale: ${formatSize(end - start)} from ${hex(start)}`}</title>
            <path d={`M${x - 3} ${bottom}l4 -8l-4 -8L${x - 3} ${CAPTION}`} />
            <path d={`M${x + 3} ${bottom}l4 -8l-4 -8L${x + 3} ${CAPTION}`} />
          </g>
        )
      })}
  </g>
)

interface TextProps {
  readonly x: number
  readonly y: number
  readonly text: string
  readonly kind: string
  readonly from: { readonly x: number; readonly y: number }
}

const Text = ({ x, y, text, kind, from }: TextProps): JSX.Element => (
  <g class={`label ${kind}`}>
    <line x1={round(from.x)} y1={from.y} x2={round(from.x)} y2={y - 9} />
    <text x={round(x)} y={y} textLength={round(text.length * CHARACTER)}>
      {text}
    </text>
  </g>
)

const lengthOf = (text: string): number => text.length * CHARACTER

const ticksOf = (borders: readonly number[], scale: Scale): Label[] =>
  borders.map(border => {
    const text = addressText(border)
    return {
      text,
      kind: 'tick',
      anchor: scale.at(border),
      length: lengthOf(text),
      // The ends first, then what is rounder.
      weight:
        border === borders[0] || border === borders.at(-1) ? 0 : text.length,
    }
  })

/** What differs, and what is drawn larger than it is. */
const labelsOf = ({ lanes }: Picture, scale: Scale): Label[] => {
  const differences = lanes.flatMap(lane =>
    lane.differences.map(difference => ({ lane, difference })),
  )
  const enlarged = new Set(
    scale.segments
      .filter(segment => segment.enlarged)
      .map(({ start, end }) => `${start} ${end}`),
  )
  const holes = lanes
    .flatMap(({ marks }) => marks)
    .filter(
      ({ kind, start, end }) =>
        (kind === 'hole' || kind === 'parameter') &&
        enlarged.has(`${start} ${end}`),
    )
  return [
    ...differences.map(({ lane, difference }) =>
      labelAt(difference, {
        text: `${lane.title}: ${differenceText(difference)}`,
        kind: 'differing',
        weight: 0,
        scale,
      }),
    ),
    ...distinct(holes).map(hole =>
      labelAt(hole, {
        text: `${formatSize(sizeOf(hole))} ${hole.kind === 'hole' ? 'hole' : visible(hole.name)}`,
        kind: 'hole',
        weight: 1,
        scale,
      }),
    ),
  ]
}

const distinct = (marks: readonly Mark[]): Mark[] => [
  ...new Map(
    marks.map(mark => [`${mark.start} ${mark.end} ${mark.kind}`, mark]),
  ).values(),
]

const labelAt = (
  range: Range,
  {
    text,
    kind,
    weight,
    scale,
  }: {
    readonly text: string
    readonly kind: string
    readonly weight: number
    readonly scale: Scale
  },
): Label => ({
  text,
  kind,
  weight,
  anchor: (scale.at(range.start) + scale.at(range.end)) / 2,
  length: lengthOf(text),
})
