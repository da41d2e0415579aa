import { formatSize, hex } from '../base/units.ts'
import type { Prediction } from '../judge/prediction.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import type { TdmrPrediction } from '../memory/predict.ts'
import { type NodeRange, formatRange, sizeOf } from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import { LINEAGES, type Lineage } from '../tdx/host.ts'
import { MODULE_LIMITS, privateKeyids } from '../tdx/platform.ts'

/** What one cell of a scenario must become, on kernels of each lineage. */
export interface CellPrediction {
  readonly item: Case
  readonly on: Readonly<Record<Lineage, Prediction>>
}

/** Predictions as JSON, one for each cell and lineage: `tdxrig.predict/1`. */
export const predictionJson = (cells: readonly CellPrediction[]): unknown => ({
  schema: 'tdxrig.predict/1',
  cases: cells.flatMap(({ item, on }) =>
    LINEAGES.map(lineage => caseJson(item, lineage, on[lineage])),
  ),
})

const caseJson = (
  item: Case,
  lineage: Lineage,
  { layout, outcome, open, online }: Prediction,
): unknown => ({
  id: item.id,
  lineage,
  scenario: item.scenario,
  words: item.words,
  outcome: outcome?.outcome ?? null,
  stage: outcome?.stage ?? null,
  errno: outcome?.errno ?? null,
  why: outcome?.why ?? open ?? null,
  steps: item.steps.map(step =>
    step.kind === 'trigger'
      ? { step: step.kind }
      : {
          ...{ step: step.kind, dimm: step.dimm.name },
          ...(step.kind === 'plug' && rangeJson(step.dimm.range)),
        },
  ),
  online,
  unpredictable: layout.unpredictable,
  firmwareMap: layout.firmwareMap.map(entryJson),
  userMap: layout.userMap?.map(entryJson) ?? null,
  memblock: layout.memblock.map(rangeJson),
  numaFallback: layout.numaFallback ?? null,
  regions: layout.regions.map(rangeJson),
  tdmrs: layout.tdmrs.map(tdmr => ({
    base: hex(tdmr.start),
    size: hex(sizeOf(tdmr)),
    pamt: { sizes: tdmr.pamtSizes.map(hex), node: tdmr.pamtNode },
    holes: tdmr.holes.map(({ start, end }) => ({
      start: hex(start),
      end: hex(end),
    })),
    reservedAreas: {
      min: tdmr.holes.length + tdmr.pamtAreas.min,
      max: tdmr.holes.length + tdmr.pamtAreas.max,
      limit: MODULE_LIMITS.maxReservedPerTdmr,
    },
  })),
  pamtKiB: layout.pamtKib,
})

const entryJson = ({ start, end, type }: E820Entry): unknown => ({
  start: hex(start),
  end: hex(end),
  type: e820TypeName(type),
})

const rangeJson = ({ start, end, node }: NodeRange): object => ({
  start: hex(start),
  end: hex(end),
  node,
})

/** A prediction as text: a section a step, from the map to the outcome. */
export const predictionText = ({ item, on }: CellPrediction): string => {
  const layouts = LINEAGES.map(lineage => ({
    lineages: [lineage],
    lines: layoutLines(item, on[lineage]),
  }))
  // Most layouts do not depend on the kernel: they are shown once.
  const [first, ...others] = layouts
  const same = others.every(
    ({ lines }) => lines.join('\n') === first!.lines.join('\n'),
  )
  const blocks = same
    ? [{ lineages: [...LINEAGES], lines: first!.lines }]
    : layouts
  return blocks
    .flatMap(({ lineages, lines }) => [
      same ? item.id : `${item.id}, ${lineages.join(', ')}`,
      ...lines,
      ...lineages.map(
        lineage => `  outcome on ${lineage}: ${endingText(on[lineage])}`,
      ),
      '',
    ])
    .join('\n')
}

const endingText = ({ outcome, open }: Prediction): string => {
  if (!outcome) return `open: ${open ?? ''}`
  const errno = outcome.errno === null ? '' : ` (${outcome.errno})`
  const stage =
    outcome.stage === null || outcome.stage === 'done'
      ? ''
      : ` at ${outcome.stage}`
  return `${outcome.outcome}${stage}${errno}: ${outcome.why}`
}

const layoutLines = (item: Case, prediction: Prediction): string[] => {
  const { layout } = prediction
  const [start, end] = privateKeyids(item.platform)
  const sections: [string, string[]][] = [
    ["firmware's memory map", layout.firmwareMap.map(entryLine)],
    ...(layout.userMap
      ? [
          [
            `memory map after ${item.words.filter(word => /^mem(map)?=/.test(word)).join(' ')}`,
            layout.userMap.map(entryLine),
          ] satisfies [string, string[]],
        ]
      : []),
    ['memblock ranges', layout.memblock.map(nodeLine)],
    ['TDX memory regions', layout.regions.map(nodeLine)],
    ['TDMRs', layout.tdmrs.flatMap(tdmrLines)],
    ...(item.steps.some(({ kind }) => kind !== 'trigger')
      ? [
          [
            'steps',
            item.steps.map(step => stepLine(step, prediction)),
          ] satisfies [string, string[]],
        ]
      : []),
  ]
  return [
    ...sections.flatMap(([title, lines]) => [
      `  ${title}`,
      ...lines.map(line => `    ${line}`),
    ]),
    ...(layout.unpredictable.length > 0
      ? [
          `  the model does not follow ${layout.unpredictable.join(', ')}: a boot is held against the kernel's own node ranges`,
        ]
      : []),
    `  private KeyIDs [${start}, ${end}), PAMT ${layout.pamtKib} KiB`,
  ]
}

const RANGE_WIDTH = 28

const stepLine = (step: Step, { online }: Prediction): string => {
  if (step.kind === 'trigger') return step.kind
  const { name, range } = step.dimm
  if (step.kind === 'plug')
    return `plug ${name}: ${formatRange(range)} node ${range.node}`
  const known = online.find(dimm => dimm.name === name)
  const result = known ? (known.refused ? 'refused' : 'taken') : 'open'
  return `online ${name}: ${result}`
}

const entryLine = (entry: E820Entry): string =>
  `${formatRange(entry).padEnd(RANGE_WIDTH)}  ${e820TypeName(entry.type)}`

const nodeLine = (range: NodeRange): string =>
  `${formatRange(range).padEnd(RANGE_WIDTH)}  node ${range.node}  ${formatSize(sizeOf(range))}`

const tdmrLines = (tdmr: TdmrPrediction): string[] => {
  const { min, max } = tdmr.pamtAreas
  const holes = tdmr.holes.length
  const areas =
    min === max ? String(holes + min) : `${holes + min} to ${holes + max}`
  return [
    `${formatRange(tdmr).padEnd(RANGE_WIDTH)}  PAMT on node ${tdmr.pamtNode}, ${areas} of ${MODULE_LIMITS.maxReservedPerTdmr} reserved areas`,
    ...tdmr.holes.map(hole => `  hole ${formatRange(hole)}`),
  ]
}
