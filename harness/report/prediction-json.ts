import type { LogPrediction } from '../judge/log-prediction.ts'
import type { Ending } from '../judge/predicted-ending.ts'
import type { Prediction } from '../judge/prediction.ts'
import type { Case } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'
import type { Drawn } from './picture/rows.ts'
import { layoutJson, nodeRangeJson, rangeJson } from './layout-json.ts'

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
  /** What the log and the prediction are as a picture. */
  readonly drawn: Drawn
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
  steps: item.steps.map(stepJson),
  updates: prediction.updates.map(({ result, module }) => ({ result, module })),
  machineCheck: prediction.machineCheck
    ? {
        isPrivate: prediction.machineCheck.isPrivate ?? null,
        why: prediction.machineCheck.why,
      }
    : null,
  retries: prediction.retries.map(({ errno = null, why }) => ({ errno, why })),
  online: prediction.memory.flatMap(({ kind, name, result }) =>
    kind === 'online' && result !== 'open'
      ? [{ name, refused: result === 'refused' }]
      : [],
  ),
  memory: prediction.memory.map(({ step, name, result, errno, why }) => ({
    step,
    name,
    result,
    errno,
    why,
  })),
  ...(prediction.next && {
    next: {
      ...endingJson(prediction.next),
      handover: prediction.next.handover === true,
      ...layoutJson(prediction.next.layout),
    },
  }),
  ...layoutJson(prediction.layout),
})

const stepJson = (step: Step): unknown => {
  if ('dimm' in step)
    return {
      step: step.kind,
      dimm: step.dimm.name,
      ...(step.kind === 'plug' && nodeRangeJson(step.dimm.range)),
    }
  if ('memory' in step)
    return step.kind === 'online'
      ? { step: step.kind, dimm: step.memory.name }
      : {
          step: step.kind,
          memory: step.memory.name,
          ...rangeJson(step.memory.range),
        }
  return {
    step: step.kind,
    ...(step.kind === 'offline' && { cpu: step.cpu }),
    ...(step.kind === 'update' && { image: { ...step.image } }),
  }
}

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
