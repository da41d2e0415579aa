import type { Colors } from 'picocolors/types.js'
import type { Range } from '../../memory/range.ts'
import {
  type Lane,
  type Mark,
  type MarkKind,
  type Picture,
  differenceText,
  laneName,
  withoutTwins,
} from './picture.ts'
import { addressText } from './rows.ts'
import { makeScale } from './scale.ts'

/** A picture as lines of text, every lane on the same scale. */

/** What text is shown on. */
export interface Screen {
  /** No line of a picture is longer. */
  readonly columns: number
  readonly ascii: boolean
  readonly colors: Colors
}

export interface BarOptions extends Screen {
  /** Only lanes that differ, and what the command line says. */
  readonly differing?: boolean
}

/** Where a kind has no glyph, the number of the mark is drawn. */
const GLYPHS: Readonly<
  Record<MarkKind, readonly [unicode: string, ascii: string] | undefined>
> = {
  usable: ['█', '#'],
  reserved: ['░', '-'],
  acpi: ['▒', 'a'],
  persistent: ['▓', 'p'],
  unusable: ['╳', '!'],
  parameter: ['═', '='],
  node: undefined,
  region: undefined,
  tdmr: undefined,
  hole: ['x', 'x'],
  pamt: ['P', 'P'],
  cmr: ['█', '#'],
}

const GAP = ['·', '.'] as const
const FOLD = ['≈', '~'] as const

const INDENT = '  '
/** Of lanes, as far as a narrow terminal has room for it. */
const TITLE_WIDTH = 26
/** Pieces of a long map, one below the other. */
const MAX_PANELS = 8
/** Differences that are named below a lane. */
const NAMED = 4

/** @returns lines without line feeds; none when there is nothing to draw */
export const bars = (picture: Picture, options: BarOptions): string[] => {
  const all = withoutTwins(picture)
  const lanes = options.differing ? differingLanes(all) : all
  const shown = lanes.flatMap(({ marks }) => marks)
  const borders = picture.borders.filter(
    border =>
      lanes.some(({ differences }) =>
        differences.some(
          ({ start, end }) => start === border || end === border,
        ),
      ) || shown.some(({ start, end }) => start === border || end === border),
  )
  if (borders.length < 2) return []
  const columns = Math.max(options.columns, INDENT.length + 2)
  const title = Math.min(TITLE_WIDTH, Math.floor(columns / 3))
  const room = columns - INDENT.length - title
  const panels = panelsOf(borders, Math.max(1, Math.floor(room / 2)))
  const left = panels.length - MAX_PANELS
  return [
    ...panels
      .slice(0, MAX_PANELS)
      .flatMap(panel => panelLines(panel, lanes, { ...options, room, title })),
    ...(left > 0 ? [`${left} more parts are not drawn`.slice(0, columns)] : []),
  ]
}

const differingLanes = (lanes: readonly Lane[]): Lane[] => {
  const rowOf = ({ title, by }: Lane): string => `${title} ${by}`
  const rows = new Set(
    lanes.filter(({ differences }) => differences.length > 0).map(rowOf),
  )
  return rows.size === 0
    ? []
    : lanes.filter(lane => lane.title === 'parameters' || rows.has(rowOf(lane)))
}

/** Borders of each part: the last of one is the first of the next. */
const panelsOf = (borders: readonly number[], most: number): number[][] => {
  const count = Math.ceil((borders.length - 1) / most)
  const size = Math.ceil((borders.length - 1) / count)
  return Array.from({ length: count }, (_, i) =>
    borders.slice(i * size, (i + 1) * size + 1),
  )
}

interface PanelOptions extends BarOptions {
  /** Columns of the lane, and of its title. */
  readonly room: number
  readonly title: number
}

/** Columns of an address range in a panel. */
interface Columns {
  readonly of: (range: Range) => readonly [from: number, to: number]
  readonly count: number
  /** Column in the middle of each folded piece. */
  readonly folds: readonly number[]
}

const columnsFor = (borders: readonly number[], room: number): Columns => {
  // A column for each piece, and what is left by size.
  const pieces = borders.length - 1
  const { segments } = makeScale(borders, {
    width: room - pieces,
    least: 0,
    most: 0.35,
  })
  const starts = new Map<number, number>()
  const folds: number[] = []
  let drawn = 0
  for (const [i, { start, width, folded }] of segments.entries()) {
    const from = i + Math.round(drawn)
    drawn += width
    starts.set(start, from)
    if (folded) folds.push(Math.floor((from + i + Math.round(drawn)) / 2))
  }
  const count = pieces + Math.round(drawn)
  const first = borders[0]!
  const last = borders.at(-1)!
  const column = (address: number): number =>
    address <= first ? 0 : address >= last ? count : starts.get(address)!
  return { of: ({ start, end }) => [column(start), column(end)], count, folds }
}

const panelLines = (
  borders: readonly number[],
  lanes: readonly Lane[],
  options: PanelOptions,
): string[] => {
  const columns = columnsFor(borders, options.room)
  const panel = { start: borders[0]!, end: borders.at(-1)! }
  return [
    ...lanes.flatMap(lane => laneLines(lane, { columns, panel, options })),
    ...axisLines(borders, columns, options),
  ]
}

interface Panel {
  readonly columns: Columns
  readonly panel: Range
  readonly options: PanelOptions
}

const laneLines = (
  lane: Lane,
  { columns, panel, options }: Panel,
): string[] => {
  const { ascii, colors, title, room } = options
  const line = (head: string, text: string): string =>
    `${INDENT}${`${shortened(head, title - 1)} `.padEnd(title)}${text}`.trimEnd()
  const cells = new Array<string>(columns.count).fill(GAP[Number(ascii)]!)
  for (const mark of lane.marks) {
    if (mark.end <= panel.start || mark.start >= panel.end) continue
    const [from, to] = columns.of(mark)
    cells.fill(glyphOf(mark, ascii), from, to)
  }
  const bar = line(laneName(lane), cells.join(''))
  const here = lane.differences.filter(
    ({ start, end }) =>
      (end > panel.start || start === panel.start) && start < panel.end,
  )
  if (here.length === 0) return [bar]
  const signs = new Array<string>(columns.count).fill(' ')
  for (const difference of here) {
    const [from, to] = columns.of(difference)
    signs.fill('^', Math.min(from, columns.count - 1), Math.max(to, from + 1))
  }
  const named = here.slice(0, NAMED).map(one => differenceText(one))
  return [
    bar,
    colors.red(line('differs', signs.join(''))),
    ...[
      ...named,
      ...(here.length > NAMED ? [`and ${here.length - NAMED} more`] : []),
    ].map(text => line('', text.slice(0, room))),
  ]
}

/** Whose a lane is, behind the comma, is left whole where it can be. */
const shortened = (name: string, width: number): string => {
  const comma = name.lastIndexOf(',')
  if (name.length <= width || comma < 0) return name.slice(0, width)
  const side = name.slice(comma)
  return `${name.slice(0, Math.max(1, width - side.length))}${side}`.slice(
    0,
    width,
  )
}

const glyphOf = ({ kind, number }: Mark, ascii: boolean): string =>
  GLYPHS[kind]?.[Number(ascii)] ?? digit(number ?? -1)

/** 0 to 9, a to z, then anew: neighbours always differ. */
const digit = (number: number): string =>
  number < 0 ? '?' : (number % 36).toString(36)

/** Addresses where there is room for them, in two rows. */
const axisLines = (
  borders: readonly number[],
  columns: Columns,
  { ascii, title }: PanelOptions,
): string[] => {
  const rows = [columns.count, columns.count].map(count =>
    new Array<string>(count).fill(' '),
  )
  for (const column of columns.folds) rows[0]![column] = FOLD[Number(ascii)]!
  const ends = [0, 0]
  const last = borders.at(-1)!
  const lastText = addressText(last)
  const lastAt = columns.count - lastText.length
  place(rows[0]!, lastAt, lastText)
  for (const border of borders.slice(0, -1)) {
    const text = addressText(border)
    const [at] = columns.of({ start: border, end: border })
    const fits = (index: number): boolean =>
      at >= ends[index]! &&
      at + text.length < (index === 0 ? lastAt : columns.count + 1)
    const index = fits(0) ? 0 : fits(1) ? 1 : undefined
    if (index === undefined) continue
    place(rows[index]!, at, text)
    ends[index] = at + text.length + 1
  }
  return rows
    .map(cells => cells.join('').trimEnd())
    .filter(line => line !== '')
    .map(line => `${INDENT}${' '.repeat(title)}${line}`)
}

const place = (cells: string[], at: number, text: string): void => {
  for (let i = 0; i < text.length; i++) cells[at + i] = text[i]!
}
