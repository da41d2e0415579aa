import { predictCase } from '../judge/prediction.ts'
import { recipeNames } from '../kernel/recipe.ts'
import { predictionJson, predictionText } from '../report/prediction.ts'
import { loadCases } from '../scenario/load.ts'

/** `tdxrig predict`: the layout a kernel must build, without booting. */
export const predictCommand = async (
  files: readonly string[],
  { json = false }: { readonly json?: boolean },
): Promise<number> => {
  const kernels = await recipeNames()
  const cases = await loadCases(files, { kernels, onlyKernels: undefined })
  // One prediction for each cell and lineage, whatever the kernels are called.
  const cells = new Map(
    cases.map(item => [item.id.replace(/@[^@]*$/, ''), item]),
  )
  const predictions = [...cells].map(([id, item]) => ({
    item: { ...item, id },
    on: {
      v6: predictCase(item, { lineage: 'v6', failsRegions: true }),
      upstream: predictCase(item, { lineage: 'upstream' }),
    },
  }))
  process.stdout.write(
    json
      ? `${JSON.stringify(predictionJson(predictions), null, 2)}\n`
      : predictions.map(predictionText).join('\n'),
  )
  return 0
}
