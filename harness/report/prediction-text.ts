import { visible } from '../base/text.ts'
import { formatSize } from '../base/units.ts'
import type { PredictedMemory } from '../judge/predict-memory.ts'
import type { PredictedMachineCheck } from '../judge/predict-machine-check.ts'
import type { PredictedRetry } from '../judge/predict-retries.ts'
import type { Ending } from '../judge/predicted-ending.ts'
import type { Prediction } from '../judge/prediction.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import { hasNode } from '../memory/numa.ts'
import { TDMRS_LEFT_WARNING, headroomOf } from '../memory/headroom.ts'
import type { Layout, TdmrPrediction } from '../memory/predict.ts'
import {
  NO_NODE,
  type NodeRange,
  formatRange,
  sizeOf,
} from '../memory/range.ts'
import type { Step } from '../scenario/steps.ts'
import { ERRNO } from '../tdx/errno.ts'
import { type BarOptions, type Screen, bars } from './picture/bars.ts'
import { drawnLayout } from './picture/drawn.ts'
import { pictureOf } from './picture/picture.ts'
import { type Drawn, rowsOf } from './picture/rows.ts'
import { type Platform, privateKeyids } from '../tdx/platform.ts'
import type { CellPrediction, FilePrediction } from './prediction-json.ts'

/** A prediction as text: a section a step, from the map to the outcome. */
export const predictionText = (
  { item, predictions }: CellPrediction,
  screen: Screen,
): string => {
  const layouts = predictions.map(({ series, prediction }) => ({
    title: `${item.id}, ${series.name}`,
    of: [{ series, prediction }],
    lines: [
      ...layoutLines(item.words, prediction.layout),
      ...stepLines(item.steps, prediction),
      ...endLines(item.platform, prediction.layout),
      ...pictureLines(
        drawnLayout(prediction.layout, {
          cmdline: item.words.join(' '),
          cmrs: item.platform.cmrs,
        }),
        screen,
      ),
    ],
  }))
  // Most layouts do not depend on the kernel: they are shown once.
  const [first, ...others] = layouts
  const same = others.every(
    ({ lines }) => lines.join('\n') === first!.lines.join('\n'),
  )
  const blocks = same
    ? [{ title: item.id, of: predictions, lines: first!.lines }]
    : layouts
  return blocks
    .flatMap(({ title, of, lines }) => [
      title,
      ...lines,
      `  board: ${item.machine.board.title}`,
      ...of.flatMap(({ series, prediction }) => [
        `  outcome on ${series.name}: ${endingText(prediction)}`,
        ...nextLines(prediction.next),
      ]),
      '',
    ])
    .join('\n')
}

/** What is predicted of the kernel that a kexec step starts. */
const nextLines = (next: Prediction | undefined): string[] =>
  next
    ? [
        `  then, on the kernel that kexec starts: ${endingText(next)}`,
        ...next.layout.regions.map(region => `    ${nodeLine(region)}`),
        ...(next.handover === true
          ? [
              '    of which kexec handover keeps some apart, as its console says',
            ]
          : []),
      ]
    : []

/** What TDX gets of a layout, without what it was made of. */
export const layoutSummary = (layout: Layout): string[] => [
  ...sectionLines([
    ['TDX memory regions', layout.regions.map(nodeLine)],
    ['TDMRs', layout.tdmrs.flatMap(tdmr => tdmrLines(tdmr, layout))],
  ]),
  `  headroom: ${headroomText(layout)}`,
]

/** The prediction for a log as text. */
export const logText = (
  { file, kernel, said, prediction, drawn }: FilePrediction,
  screen: Screen,
): string => {
  const { layout, words, keyids, notes } = prediction
  const found = outcomeText(said.outcome, said.stage, said.errno)
  return [
    `${visible(file)}: ${kernel === null ? 'a kernel' : `Linux ${visible(kernel)}`}`,
    ...layoutLines(words, layout),
    ...endLines({ keyids }, layout),
    ...pictureLines(drawn, screen),
    ...notes.map(note => `  note: ${visible(note)}`),
    `  outcome by the model: ${endingText(prediction)}`,
    `  outcome in the log: ${found}${said.message === null ? '' : ` ('${visible(said.message)}')`}`,
    '',
  ].join('\n')
}

/** `failed at reserved-areas (-28)`. */
export const outcomeText = (
  outcome: string,
  stage: string | null,
  errno: number | null,
): string =>
  `${outcome}${stage === null || stage === 'done' ? '' : ` at ${stage}`}${errno === null ? '' : ` (${errno})`}`

/** How TDX ends by the model, and why. */
export const endingText = ({ outcome, open, possible }: Ending): string => {
  if (!outcome)
    return possible
      ? `open: ${[...(possible.initialized ? ['initialized'] : []), `failed at ${possible.stages.join('|')}`].join(' or ')}: ${open ?? ''}`
      : (open ?? '')
  return `${outcomeText(outcome.outcome, outcome.stage, outcome.errno)}: ${outcome.why}`
}

/** The same as a picture. */
export const pictureLines = (drawn: Drawn, screen: BarOptions): string[] =>
  bars(pictureOf(rowsOf(drawn)), screen)

type Section = readonly [title: string, lines: readonly string[]]

const sectionLines = (sections: readonly Section[]): string[] =>
  sections.flatMap(([title, lines]) => [
    `  ${title}`,
    ...lines.map(line => `    ${line}`),
  ])

const layoutLines = (words: readonly string[], layout: Layout): string[] => {
  const asked = words.filter(word => /^mem(map)?=/.test(word)).join(' ')
  const fallback =
    layout.numaFallback === undefined
      ? ''
      : `, no SRAT used: ${layout.numaFallback}`
  return sectionLines([
    ["firmware's memory map", layout.firmwareMap.map(entryLine)],
    ...optional(
      'memory map with what is beyond 128 entries',
      layout.extendedMap,
    ),
    ...optional(
      asked === ''
        ? 'memory map after the command line (not in the log)'
        : `memory map after ${visible(asked)}`,
      layout.userMap,
    ),
    ...(layout.srat.length > 0
      ? [
          [
            'memory affinity (SRAT)',
            layout.srat.map(
              block => `${nodeLine(block)}, domain ${block.domain}`,
            ),
          ] satisfies Section,
        ]
      : []),
    [`memblock ranges${fallback}`, layout.memblock.map(nodeLine)],
    ['TDX memory regions', layout.regions.map(nodeLine)],
    ['TDMRs', layout.tdmrs.flatMap(tdmr => tdmrLines(tdmr, layout))],
  ])
}

const optional = (
  title: string,
  map: readonly E820Entry[] | undefined,
): Section[] => (map ? [[title, map.map(entryLine)]] : [])

const stepLines = (steps: readonly Step[], prediction: Prediction): string[] =>
  steps.some(({ kind }) => kind !== 'trigger')
    ? sectionLines([
        ['steps', steps.map((_, i) => stepLine(steps, i, prediction))],
      ])
    : []

const endLines = (
  platform: Pick<Platform, 'keyids'>,
  layout: Layout,
): string[] => {
  const [start, end] = privateKeyids(platform)
  return [
    ...(layout.unpredictable.length > 0
      ? [
          `  the model does not follow ${layout.unpredictable.map(visible).join(', ')}: a boot is compared with the kernel's own node ranges`,
        ]
      : []),
    `  private KeyIDs [${start}, ${end}), PAMT ${layout.pamtKib} KiB`,
    `  headroom: ${headroomText(layout)}`,
  ]
}

const headroomText = (layout: Layout): string => {
  const { tdmrs, reservedAreas, pamt } = headroomOf(layout)
  const warns = tdmrs.max - tdmrs.used < TDMRS_LEFT_WARNING
  return [
    `${tdmrs.used} of ${tdmrs.max} TDMRs${warns ? ' (the kernel warns)' : ''}`,
    ...(reservedAreas
      ? [
          `${between(reservedAreas.atLeast, reservedAreas.atMost)} of ${reservedAreas.max} reserved areas in TDMR ${formatRange(reservedAreas.tdmr)}`,
        ]
      : []),
    `PAMT ${(pamt.share * 100).toFixed(2)}% of the memory`,
  ].join(', ')
}

const between = (min: number, max: number): string =>
  min === max ? String(min) : `${min} to ${max}`

const RANGE_WIDTH = 28

const stepLine = (
  steps: readonly Step[],
  at: number,
  { memory, updates, retries, machineCheck }: Prediction,
): string => {
  const step = steps[at]!
  if (step.kind === 'trigger') return step.kind
  const before = (kind: Step['kind']): number =>
    steps.slice(0, at).filter(one => one.kind === kind).length
  if (step.kind === 'retry')
    return `retry: ${retryText(retries[before('retry')])}`
  if (step.kind === 'offline') return `offline CPU ${step.cpu}`
  if (step.kind === 'update') {
    const result = updates[before('update')]?.result ?? 'open'
    return `update to ${step.image.module} (${step.image.kind}): ${result}`
  }
  if (step.kind === 'machine check')
    return `machine check: ${blameText(machineCheck)}`
  if (step.kind === 'kexec') return `kexec: ${step.next.words.join(' ')}`
  const known = memory.find(one => one.step === at)
  if (step.kind === 'plug') {
    const { name, range } = step.dimm
    const added = known?.result === 'refused' ? `, not added: ${known.why}` : ''
    return `plug ${name}: ${formatRange(range)} node ${range.node}${added}`
  }
  if (step.kind === 'unplug')
    return `unplug ${step.dimm.name}: ${resultText(known, 'removed')}`
  if (step.kind === 'kmem') {
    const { name, range } = step.memory
    return known?.result === 'refused'
      ? `kmem ${name}: not added: ${known.why}`
      : `kmem ${name}: ${formatRange(range)} node ${range.node}`
  }
  const { name, range, kind } = step.memory
  if (step.kind === 'online')
    return `online ${name}: ${resultText(known, 'taken')}`
  const where = kind === 'boot' ? ` ${formatRange(range)}` : ''
  return `offline ${name}${where}: ${resultText(known, 'done')}`
}

const blameText = (known: PredictedMachineCheck | undefined): string => {
  if (known === undefined) return 'open'
  const { isPrivate, why } = known
  const not = isPrivate === false ? 'not ' : ''
  const where = isPrivate === undefined ? ' where a PAMT is' : ''
  return `${not}laid to TDX private memory${where}: ${why}`
}

/** What the caller is told. */
const retryText = (retry: PredictedRetry | undefined): string =>
  retry === undefined
    ? 'nobody is asked'
    : retry.errno === undefined
      ? `open: ${retry.why}`
      : `${retry.errno}: ${retry.why}`

/** `refused (-22)`; without the number that kernels say as a rule. */
const resultText = (
  known: PredictedMemory | undefined,
  done: string,
): string => {
  if (!known || known.result === 'open')
    return known ? `open: ${known.why}` : 'open'
  if (known.result === 'done') return done
  return known.errno === ERRNO.EPERM ? 'refused' : `refused (${known.errno})`
}

const entryLine = (entry: E820Entry): string =>
  `${formatRange(entry).padEnd(RANGE_WIDTH)}  ${e820TypeName(entry.type)}`

const nodeText = (range: NodeRange): string =>
  hasNode(range) ? `node ${range.node}` : 'no node'

const nodeLine = (range: NodeRange): string =>
  `${formatRange(range).padEnd(RANGE_WIDTH)}  ${nodeText(range)}  ${formatSize(sizeOf(range))}`

/** The node that is asked, unless its memory may not be taken, or not be there. */
const pamtPlace = ({ pamtNode, pamtNodes }: TdmrPrediction): string => {
  if (pamtNodes.length === 0 || pamtNodes.includes(NO_NODE))
    return `node ${pamtNode}`
  return pamtNodes.length > NODES_SHOWN
    ? `one of ${pamtNodes.length} nodes`
    : `node ${pamtNodes.join(' or ')}`
}

const NODES_SHOWN = 4

const tdmrLines = (tdmr: TdmrPrediction, { limits }: Layout): string[] => {
  const { min, max } = tdmr.pamtAreas
  const holes = tdmr.holes.length
  const areas = between(holes + min, holes + max)
  const made = `${holes} ${holes === 1 ? 'hole' : 'holes'}, ${between(min, max)} ${max === 1 ? 'PAMT' : 'PAMTs'}`
  return [
    `${formatRange(tdmr).padEnd(RANGE_WIDTH)}  PAMT on ${pamtPlace(tdmr)}, ${areas} of ${limits.maxReservedPerTdmr} reserved areas (${made})`,
    ...tdmr.holes.map(
      hole =>
        `  hole ${formatRange(hole).padEnd(RANGE_WIDTH)}  ${formatSize(sizeOf(hole))}`,
    ),
  ]
}
