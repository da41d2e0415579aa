import { CPU_MODELS } from '../scenario/cpu-models.ts'
import { poisonedBy } from '../scenario/steps.ts'
import type { Series } from '../tdx/series/index.ts'
import type { CaseInput, PredictedOutcome } from './predicted-ending.ts'

/** Whether a kernel lays a machine check to TDX private memory. */
export interface PredictedMachineCheck {
  /** Undefined: it does when a PAMT is at the address. */
  readonly isPrivate: boolean | undefined
  readonly why: string
}

/**
 * tdx_dump_mce_info(): the module is asked for the type of the page. As long as
 * no TD runs, PAMTs are the only private memory.
 */
export const predictMachineCheck = (
  {
    machine,
    platform,
    steps,
  }: Pick<CaseInput, 'machine' | 'platform' | 'steps'>,
  { explainsMachineChecks, title }: Series,
  { outcome }: PredictedOutcome,
): PredictedMachineCheck | undefined => {
  const at = poisonedBy(steps)
  if (at === undefined) return undefined
  const not = (why: string): PredictedMachineCheck => ({
    isPrivate: false,
    why,
  })
  if (at === 'timer') return not('it is no error of memory')
  if (!explainsMachineChecks) return not(`${title} says nothing of it`)
  if (!CPU_MODELS[machine.cpuModel].partialWritesPoison)
    return not(`${machine.cpuModel} does not have the erratum`)
  if (outcome !== 'initialized')
    return not('without the module no page is known to be private')
  if (platform.faults.some(({ leaf }) => leaf === 'PHYMEM_PAGE_RDMD'))
    return not('the module does not tell the type of the page')
  return at === 'pamt'
    ? { isPrivate: true, why: 'a PAMT is private memory' }
    : { isPrivate: undefined, why: 'PAMTs are the only private memory' }
}
