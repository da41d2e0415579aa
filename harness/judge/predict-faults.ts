import { ERRNO } from '../tdx/errno.ts'
import type { Fault, FaultEnd } from '../tdx/fault.ts'
import { LEAF } from '../tdx/leaves.ts'
import { STAGE_OF_LEAF } from '../tdx/outcome.ts'
import { type Platform, packagesOf } from '../tdx/platform.ts'
import type { Series } from '../tdx/series/index.ts'
import { SOFTWARE_STATUS, status, statusName } from '../tdx/status.ts'
import type { Failure } from './failure.ts'

/** RDRAND_RETRY_LOOPS: sc_retry() tries this often when entropy is short. */
const ENTROPY_TRIES = 10
export const NO_ENTROPY = status('RND_NO_ENTROPY')

/** Who calls the module. */
export interface CalledCpus {
  readonly platform: Platform
  readonly series: Series
  /** CPUs that are offline by then. */
  readonly offline: ReadonlySet<number>
}

/** What the faults of a platform do to the initialisation. */
export const faultFailures = (called: CalledCpus): Failure[] =>
  called.platform.faults.flatMap((fault): Failure[] => {
    const { platform, series } = called
    const stage = STAGE_OF_LEAF.get(LEAF[fault.leaf])
    if (!stage || !series.leaves.has(fault.leaf)) return []
    const calls = callsOf(fault, called)
    if (typeof calls === 'string') return [{ stage, open: calls }]
    if (calls < fault.call) return []
    if (fault.end === NO_ENTROPY && series.retriesEntropy) {
      if (fault.times < ENTROPY_TRIES) return []
      // CPUs that try at the same time use up the refusals together.
      const shared = fault.cpu === undefined && platform.lps > 1
      if (shared && fault.times < ENTROPY_TRIES * platform.lps)
        return [{ stage, open: 'which CPU is refused how often is not known' }]
    }
    if (fault.end === 'hangs')
      return [{ stage, open: `${fault.leaf} never returns` }]
    return [
      {
        stage,
        errno: errnoOf(fault.end, series),
        why: `the platform makes ${fault.leaf} fail with ${endText(fault.end)}`,
        unsaid: isUnsaid(fault),
      },
    ]
  })

/**
 * How many calls there are that a fault is about, when nothing fails before; at
 * least, where more of them change nothing.
 *
 * @returns why that is not known, otherwise
 */
export const callsOf = (
  { leaf, cpu, package: own, field, call }: Fault,
  { platform, series, offline }: CalledCpus,
): number | string => {
  if (leaf === 'SYS_LP_INIT')
    return platform.packageOf.filter(
      (one, i) =>
        i < platform.lps &&
        !offline.has(i) &&
        (cpu === undefined || cpu === i) &&
        (own === undefined || own === one),
    ).length
  if (cpu !== undefined) return `which CPU executes ${leaf} is not known`
  if (leaf === 'SYS_KEY_CONFIG')
    return packagesOf(platform).filter(one => own === undefined || own === one)
      .length
  if (own !== undefined)
    return `the package of the CPU that executes ${leaf} is not known`
  if (field !== undefined && !series.metadata.includes(field)) return 0
  return call > 1 && !CALLED_ONCE.has(leaf)
    ? `how often ${leaf} is called is not known`
    : 1
}

const CALLED_ONCE: ReadonlySet<Fault['leaf']> = new Set([
  'SYS_INIT',
  'SYS_INFO',
  'SYS_CONFIG',
])

/**
 * sc_retry_prerr() prints no SEAMCALL that ended without a status; of SYS.INIT
 * the kernel says that the module is not loaded.
 */
const isUnsaid = ({ leaf, end }: Fault): boolean =>
  isException(end) || (isVmfailInvalid(end) && leaf !== 'SYS_INIT')

const isException = (end: FaultEnd): boolean =>
  end === SOFTWARE_STATUS.SEAMCALL_GP || end === SOFTWARE_STATUS.SEAMCALL_UD

const isVmfailInvalid = (end: FaultEnd): boolean =>
  end === 'VMfailInvalid' || end === SOFTWARE_STATUS.VMFAILINVALID

const errnoOf = (
  end: Exclude<FaultEnd, 'hangs'>,
  { exceptionErrno }: Series,
): number => {
  switch (end) {
    case 'VMfailInvalid':
    case SOFTWARE_STATUS.VMFAILINVALID:
      return ERRNO.ENODEV
    case SOFTWARE_STATUS.SEAMCALL_GP:
      return exceptionErrno.gp
    case SOFTWARE_STATUS.SEAMCALL_UD:
      return exceptionErrno.ud
    default:
      return ERRNO.EIO
  }
}

const endText = (end: FaultEnd): string =>
  typeof end === 'bigint' ? (statusName(end) ?? 'an error') : end
