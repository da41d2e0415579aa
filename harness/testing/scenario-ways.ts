/** Every way that a scenario takes through the rig, for one bundle. */
export { writeBundle } from '../run/bundle.ts'
export { rejudge } from '../run/rejudge.ts'
export { bootableScenario } from '../reproduce/bootable.ts'
export {
  minimiseOnModel,
  endingByModel,
  reducible,
} from '../reproduce/minimise.ts'
export { reductions } from '../reproduce/shrink.ts'
export { scenarioFile } from '../scenario/scenario-file.ts'
export { scenarioJsonSchema } from '../scenario/schema.ts'
export { foundScenario, violatingScenario } from '../fuzz/found.ts'
export { loadCases } from '../scenario/load.ts'
export { judgedOutcome } from './judged.ts'
