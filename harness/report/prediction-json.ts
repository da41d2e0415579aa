import { hex } from '../base/units.ts'
import type { LogPrediction } from '../judge/log-prediction.ts'
import type { Ending } from '../judge/predicted-ending.ts'
import type { Prediction } from '../judge/prediction.ts'
import { type E820Entry, e820TypeName } from '../memory/e820.ts'
import { headroomOf } from '../memory/headroom.ts'
import type { Layout } from '../memory/predict.ts'
import { type NodeRange, type Range, sizeOf } from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import type { Series } from '../tdx/series/index.ts'
import { MODULE_LIMITS } from '../tdx/platform.ts'

/** What one cell of a scenario must become, on kernels of each series. */
export interface CellPrediction {
  readonly item: Case
  readonly predictions: readonly SeriesPrediction[]
}

/** What it must become on kernels of one series. */
export interface SeriesPrediction {
  readonly series: Series
  readonly prediction: Prediction
}

/** What the machine that wrote a log must have built. */
export interface FilePrediction {
  readonly file: string
  /** As the log names it. */
  readonly kernel: string | null
  /** What the log itself says of TDX. */
  readonly said: {
    readonly outcome: string
    readonly stage: string | null
    readonly errno: number | null
    readonly message: string | null
  }
  readonly prediction: LogPrediction
}

/** Predictions as JSON: `tdxrig.predict/1`. */
export const predictionJson = (
  cells: readonly CellPrediction[],
  logs: readonly FilePrediction[],
): unknown => ({
  schema: 'tdxrig.predict/1',
  cases: cells.flatMap(({ item, predictions }) =>
    predictions.map(one => caseJson(item, one)),
  ),
  logs: logs.map(logJson),
})

const caseJson = (
  item: Case,
  { series, prediction }: SeriesPrediction,
): unknown => ({
  id: item.id,
  series: series.name,
  board: item.machine.board.id,
  scenario: item.scenario,
  words: item.words,
  ...endingJson(prediction),
  steps: item.steps.map(step =>
    'dimm' in step
      ? {
          step: step.kind,
          dimm: step.dimm.name,
          ...(step.kind === 'plug' && rangeJson(step.dimm.range)),
        }
      : {
          step: step.kind,
          ...(step.kind === 'offline' && { cpu: step.cpu }),
          ...(step.kind === 'update' && { image: { ...step.image } }),
        },
  ),
  updates: prediction.updates.map(({ result, module }) => ({ result, module })),
  online: prediction.online,
  ...layoutJson(prediction.layout),
})

const logJson = ({
  file,
  kernel,
  said,
  prediction,
}: FilePrediction): unknown => ({
  file,
  kernel,
  said,
  words: prediction.words,
  basis: prediction.basis,
  ...endingJson(prediction),
  notes: prediction.notes,
  ...layoutJson(prediction.layout),
})

const endingJson = ({ outcome, open, possible }: Ending): object => ({
  outcome: outcome?.outcome ?? null,
  stage: outcome?.stage ?? null,
  errno: outcome?.errno ?? null,
  why: outcome?.why ?? open ?? null,
  possible: possible ?? null,
})

export const layoutJson = (layout: Layout): object => ({
  unpredictable: layout.unpredictable,
  fatal: layout.fatal?.why ?? null,
  firmwareMap: layout.firmwareMap.map(entryJson),
  extendedMap: layout.extendedMap?.map(entryJson) ?? null,
  userMap: layout.userMap?.map(entryJson) ?? null,
  srat: layout.srat.map(block => ({
    ...rangeJson(block),
    domain: block.domain,
  })),
  memblock: layout.memblock.map(rangeJson),
  numaFallback: layout.numaFallback ?? null,
  regions: layout.regions.map(rangeJson),
  tdmrs: layout.tdmrs.map(tdmr => ({
    base: hex(tdmr.start),
    size: hex(sizeOf(tdmr)),
    pamt: { sizes: tdmr.pamtSizes.map(hex), node: tdmr.pamtNode },
    holes: tdmr.holes.map(spanJson),
    reservedAreas: {
      min: tdmr.holes.length + tdmr.pamtAreas.min,
      max: tdmr.holes.length + tdmr.pamtAreas.max,
      limit: MODULE_LIMITS.maxReservedPerTdmr,
    },
  })),
  pamtKiB: layout.pamtKib,
  headroom: headroomJson(layout),
})

const headroomJson = (layout: Layout): object => {
  const { tdmrs, reservedAreas, pamt } = headroomOf(layout, MODULE_LIMITS)
  return {
    tdmrs,
    reservedAreas: reservedAreas
      ? { ...reservedAreas, tdmr: spanJson(reservedAreas.tdmr) }
      : null,
    pamt: { KiB: pamt.kib, share: pamt.share },
  }
}

const spanJson = ({ start, end }: Range): object => ({
  start: hex(start),
  end: hex(end),
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
