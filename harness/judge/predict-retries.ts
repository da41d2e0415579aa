import { ERRNO } from '../tdx/errno.ts'
import type { Fault } from '../tdx/fault.ts'
import type { Platform } from '../tdx/platform.ts'
import type { Series } from '../tdx/series/index.ts'
import {
  type Ending,
  type OutcomeInput,
  offlineAtTrigger,
} from './predicted-ending.ts'
import { type CalledCpus, NO_ENTROPY, callsOf } from './predict-faults.ts'

/** What a kernel answers that is asked for the initialisation again. */
export interface PredictedRetry {
  /** 0: TDX is initialised; undefined: not known. */
  readonly errno: number | undefined
  readonly why: string
}

/** How the last try ends, and what is answered from the second on. */
export interface PredictedTries {
  readonly ending: Ending
  readonly retries: readonly PredictedRetry[]
}

/**
 * Goes through the tries. Only the CPUs on which TDH.SYS.LP.INIT failed call
 * the module again, on kernels where the caller goes to each CPU itself
 * (tdx_cpu_enable(), Linux 6.8 to 6.15): SYS.INIT is done once, and what
 * tdx_enable() has failed at is never tried again.
 *
 * @param endingOf how a try ends on a platform
 */
export const predictTries = (
  { platform, steps }: Pick<OutcomeInput, 'platform' | 'steps'>,
  series: Series,
  endingOf: (platform: Platform) => Ending,
): PredictedTries => {
  let ending = endingOf(platform)
  if (series.trigger === 'at boot') return { ending, retries: [] }
  const offline = offlineAtTrigger(steps, series)
  const retries: PredictedRetry[] = []
  let used = 0
  for (const { kind } of steps) {
    if (kind !== 'retry') continue
    if (!goesToCpusAgain(ending, series)) {
      retries.push(answerAgain(ending, series))
      continue
    }
    ending = lacksEntropy(platform)
      ? { outcome: undefined, open: ENTROPY }
      : endingOf(platformAt(++used, { platform, series, offline }))
    retries.push(answerOf(ending, 'the CPUs that failed are tried again'))
  }
  return { ending, retries }
}

const goesToCpusAgain = ({ outcome }: Ending, { trigger }: Series): boolean =>
  trigger === 'tdx_cpu_enable, tdx_enable' &&
  outcome?.outcome === 'failed' &&
  outcome.stage === 'lp-init'

/** Each call asks ten times: how much a try uses up goes by who asks first. */
const ENTROPY = 'how often entropy was refused by then is not known'
const lacksEntropy = ({ faults }: Platform): boolean =>
  faults.some(({ leaf, end }) => leaf === 'SYS_LP_INIT' && end === NO_ENTROPY)

/** What the caller of a try is told. */
const answerOf = ({ outcome, open }: Ending, why: string): PredictedRetry => {
  if (!outcome) return { errno: undefined, why: open ?? 'not known' }
  switch (outcome.outcome) {
    case 'initialized':
      return { errno: 0, why }
    case 'failed':
      return { errno: outcome.errno ?? undefined, why }
    case 'absent':
    case 'disabled':
      return { errno: ERRNO.ENODEV, why: 'this kernel has no TDX' }
    case 'not-enabled':
    case 'unfinished':
      return { errno: undefined, why: 'nobody was asked before' }
  }
}

const answerAgain = (ending: Ending, series: Series): PredictedRetry => {
  const { errnoAfterFailure } = series
  const { outcome } = ending
  if (outcome?.outcome === 'initialized')
    return answerOf(ending, 'it is initialised')
  // What fails before tdx_enable() is kept by try_init_module_global().
  const wasTried = outcome?.outcome === 'failed' && outcome.stage !== 'sys-init'
  if (wasTried && errnoAfterFailure !== undefined)
    return { errno: errnoAfterFailure, why: 'it has failed before' }
  return answerOf(ending, 'it is not tried again')
}

/** Faults that no CPU meets any more at this retry are gone. */
const platformAt = (
  retry: number,
  { platform, series, offline }: CalledCpus,
): Platform => ({
  ...platform,
  faults: platform.faults.filter(
    fault =>
      fault.leaf !== 'SYS_LP_INIT' ||
      isMetAgain(fault, callsOf(fault, { platform, series, offline }), retry),
  ),
})

/**
 * Each CPU that failed calls once more: the fault goes on where it was.
 *
 * @param calls of the first try
 */
const isMetAgain = (
  { call, times }: Fault,
  calls: number | string,
  retry: number,
): boolean => {
  if (typeof calls === 'string') return true
  let left = times
  let failing = calls - (call - 1)
  for (let i = 0; i < retry; i++) {
    const met = Math.min(failing, left)
    left -= met
    failing = met
  }
  return Math.min(failing, left) > 0
}
