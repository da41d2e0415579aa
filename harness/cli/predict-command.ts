import { UsageError } from '../base/errors.ts'
import { showsMemory } from '../judge/log-map.ts'
import { predictFromLog } from '../judge/log-prediction.ts'
import { optionsOf, predictCase } from '../judge/prediction.ts'
import { recipeNames } from '../kernel/recipe.ts'
import {
  type CellPrediction,
  type FilePrediction,
  predictionJson,
} from '../report/prediction-json.ts'
import { drawnLog } from '../report/picture/drawn.ts'
import { logText, predictionText } from '../report/prediction-text.ts'
import { ALL_SERIES } from '../tdx/series/index.ts'
import { loadCases } from '../scenario/load.ts'
import { boardHere } from './board-here.ts'
import { type ScreenFlags, screenFor } from './screen.ts'
import { bootName } from '../report/explain-boot.ts'
import type { Log } from './log.ts'
import { isLog, readLog } from './log-file.ts'

/** `tdxrig predict`: the layout a kernel must build, without booting. */
export const predictCommand = async (
  files: readonly string[],
  { json = false, ascii }: { readonly json?: boolean } & ScreenFlags,
): Promise<number> => {
  if (files.filter(file => file === '-').length > 1)
    throw new UsageError('STDIN', "'-' is given twice: stdin is one log")
  const screen = screenFor({ ascii })
  const logs: FilePrediction[] = []
  const scenarios: string[] = []
  for (const file of files) {
    if (await isLog(file)) logs.push(...(await predictLog(file)))
    else scenarios.push(file)
  }
  const cells = scenarios.length > 0 ? await predictScenarios(scenarios) : []
  process.stdout.write(
    json
      ? `${JSON.stringify(predictionJson(cells, logs), null, 2)}\n`
      : [
          ...cells.map(cell => predictionText(cell, screen)),
          ...logs.map(log => logText(log, screen)),
        ].join('\n'),
  )
  return 0
}

const predictScenarios = async (
  files: readonly string[],
): Promise<CellPrediction[]> => {
  const kernels = await recipeNames()
  const cases = await loadCases(files, {
    kernels,
    byDefault: kernels,
    onlyKernels: undefined,
    board: await boardHere(),
  })
  // One prediction for each cell and series, whatever the kernels are called.
  const cells = new Map(
    cases.map(item => [item.id.replace(/@[^@]*$/, ''), item]),
  )
  return [...cells].map(([id, item]) => ({
    item: { ...item, id },
    predictions: ALL_SERIES.map(series => ({
      series,
      prediction: predictCase(item, optionsOf(series)),
    })),
  }))
}

/** Predictions for the boots of a log that show their memory map. */
const predictLog = async (file: string): Promise<FilePrediction[]> => {
  const log = await readLog(file)
  const predictions = log.boots.flatMap((facts, i): FilePrediction[] => {
    if (!showsMemory(facts)) return []
    const { outcome, stage, errno, message } = facts.tdx
    const prediction = predictFromLog(facts)
    return [
      {
        file: bootName(log, i),
        kernel: facts.kernel,
        said: { outcome, stage, errno, message },
        prediction,
        drawn: drawnLog(facts, prediction),
      },
    ]
  })
  if (predictions.length === 0)
    throw new UsageError('NO_MAP', `${file}: ${noMap(log)}`)
  return predictions
}

const noMap = ({ boots, lines }: Log): string => {
  const found = boots.reduce((sum, boot) => sum + boot.firmwareMap.length, 0)
  return `expected a kernel's log with its memory map ('BIOS-e820: [mem ...] usable'), found ${found} such lines in ${lines}; the log must begin at the start of the boot`
}
