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
  // The model does not depend on the kernel: one prediction for each cell.
  const cells = new Map(
    cases.map(item => [item.id.replace(/@[^@]*$/, ''), item]),
  )
  const predictions = [...cells].map(
    ([id, item]) => [{ ...item, id }, predictCase(item)] as const,
  )
  process.stdout.write(
    json
      ? `${JSON.stringify(predictionJson(predictions), null, 2)}\n`
      : predictions.map(entry => predictionText(...entry)).join('\n'),
  )
  return 0
}
