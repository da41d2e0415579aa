import { median } from '../base/median.ts'
import { consoleRates, predictionRates } from './bench-pure.ts'

/**
 * Prints what one revision does in a second, for `bench --against`, which also
 * bundles this file with the sources of the other one.
 */
process.stdout.write(
  JSON.stringify({
    predictions: median(predictionRates()),
    consoleMegabytes: median(consoleRates()),
  }),
)
