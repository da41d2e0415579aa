import { formatSize, hex } from '../base/units.ts'
import type { Prediction } from '../judge/prediction.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import type { TdmrPrediction } from '../memory/predict.ts'
import { type NodeRange, formatRange, sizeOf } from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import { MODULE_LIMITS, privateKeyids } from '../tdx/platform.ts'

/** A prediction as JSON: `tdxrig.predict/1`. */
export const predictionJson = (
  predictions: readonly (readonly [Case, Prediction])[],
): unknown => ({
  schema: 'tdxrig.predict/1',
  cases: predictions.map(([item, { layout, outcome, open }]) => ({
    id: item.id,
    scenario: item.scenario,
    words: item.words,
    outcome: outcome?.outcome ?? null,
    stage: outcome?.stage ?? null,
    errno: outcome?.errno ?? null,
    why: outcome?.why ?? open ?? null,
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
  })),
})

const entryJson = ({ start, end, type }: E820Entry): unknown => ({
  start: hex(start),
  end: hex(end),
  type: e820TypeName(type),
})

const rangeJson = ({ start, end, node }: NodeRange): unknown => ({
  start: hex(start),
  end: hex(end),
  node,
})

/** A prediction as text: a section a step, from the map to the outcome. */
export const predictionText = (
  item: Case,
  { layout, outcome, open }: Prediction,
): string => {
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
  ]
  return [
    item.id,
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
    `  outcome: ${
      outcome
        ? `${outcome.outcome}${outcome.errno === null ? '' : ` at ${outcome.stage ?? '?'} (${outcome.errno})`}: ${outcome.why}`
        : `open: ${open ?? ''}`
    }`,
    '',
  ].join('\n')
}

const RANGE_WIDTH = 28

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
