import { MIB } from '../base/units.ts'
import type { Outcome, Stage } from '../console/outcome.ts'
import { STAGES, STAGE_OF_LEAF } from '../console/outcome.ts'
import { parseCmdline } from '../memory/cmdline.ts'
import type { Layout } from '../memory/predict.ts'
import {
  type Range,
  contains,
  formatNodeRange,
  totalSize,
  union,
} from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import type { Step } from '../scenario/steps.ts'
import { ERRNO, type HostKernel } from '../tdx/host.ts'
import { LEAF } from '../tdx/leaves.ts'
import {
  MAX_KEYIDS,
  MAX_PACKAGES,
  MODULE_LIMITS,
  privateKeyids,
  validCmrs,
} from '../tdx/platform.ts'
import { PROFILES } from '../tdx/profile.ts'
import { status } from '../tdx/status.ts'
import { fewerCpus } from './seamcalls.ts'

/** How TDX must end on a boot. */
export interface PredictedOutcome {
  readonly outcome: Outcome
  readonly stage: Stage | null
  readonly errno: number | null
  /** The TDMR the kernel's message names. */
  readonly tdmr?: Range | undefined
  /** Why, in one sentence. */
  readonly why: string
}

/** How TDX must end, or why that is not known. */
export interface Ending {
  readonly outcome: PredictedOutcome | undefined
  /** Why {@link outcome} is undefined. */
  readonly open: string | undefined
}

/** Below this a boot runs out of memory before it comes to TDX. */
const TOO_LITTLE = 128 * MIB

export type CaseInput = Pick<Case, 'machine' | 'platform' | 'words' | 'steps'>

/** Position of the trigger among the steps; -1 when there is none. */
export const triggerAt = (steps: readonly Step[]): number =>
  steps.findIndex(({ kind }) => kind === 'trigger')

/**
 * The first step of the initialisation that must fail, in the order of the
 * kernel's code (init_tdx_module() and what comes before it), or its success.
 */
export const predictOutcome = (
  item: CaseInput,
  layout: Layout,
  host: HostKernel,
): Ending => {
  if (layout.invalidMap)
    return {
      outcome: undefined,
      open: 'the kernel panics: Invalid user supplied memory map',
    }
  if (totalSize(layout.regions) < TOO_LITTLE)
    return {
      outcome: undefined,
      open: 'a kernel needs more memory than this to boot',
    }
  const early = earlyOutcome(item, layout, host)
  if (early) return { outcome: early, open: undefined }
  const failures = [
    ...platformFailures(item, host),
    ...faultFailures(item, host),
    ...convertibleFailures(item, layout, host),
    ...tdmrFailures(layout),
  ].sort((a, b) => order(a.stage) - order(b.stage))
  const [first] = failures
  if (!first)
    return {
      outcome: {
        ...{ outcome: 'initialized', stage: 'done', errno: null },
        why: 'every step of the initialisation must succeed',
      },
      open: undefined,
    }
  return 'open' in first
    ? { outcome: undefined, open: first.open }
    : {
        outcome: {
          ...{ outcome: 'failed', ...first },
          errno: errnoOf(first, host),
        },
        open: undefined,
      }
}

/** -ENODEV and what is found before the first SEAMCALL are never masked. */
const errnoOf = (
  { stage, errno }: { stage: Stage; errno: number | null },
  { maskedErrno }: HostKernel,
): number | null =>
  maskedErrno === undefined || errno === ERRNO.ENODEV || stage === 'checks'
    ? errno
    : maskedErrno

type Failure =
  | (Omit<PredictedOutcome, 'outcome'> & { readonly stage: Stage })
  | { readonly stage: Stage; readonly open: string }

const order = (stage: Stage): number => STAGES.indexOf(stage)

const early = (
  outcome: Outcome,
  stage: Stage | null,
  why: string,
): PredictedOutcome => ({ outcome, stage, errno: null, why })

/** What tdx_init() decides at boot, before anything is tried. */
const earlyOutcome = (
  { platform, words, steps }: CaseInput,
  { regions }: Layout,
  { needsX2apic, listBuilt }: HostKernel,
): PredictedOutcome | undefined => {
  const { tdx } = platform.keyids
  if (tdx === 0)
    return early(
      ...(['absent', null] as const),
      'MSR 0x87 announces no private KeyID: tdx_init() returns silently',
    )
  if (tdx < 2)
    return early(
      ...(['disabled', 'checks'] as const),
      'one private KeyID is the global one: none is left for guests',
    )
  if (needsX2apic && !platform.x2apic)
    return early('disabled', 'checks', 'the CPUs do not use x2APIC')
  const failing = failingRegion(words)
  if (listBuilt === 'at boot' && failing > 0 && failing <= regions.length)
    return early(
      ...(['disabled', 'regions'] as const),
      `tdx_fail_region=${failing}: that allocation fails, and the list is destroyed`,
    )
  if (triggerAt(steps) < 0)
    return early('unfinished', 'detect', 'nobody initialises the TDX module')
  return undefined
}

/** The boot parameter of our patch 5 for 6.1; 0: no region fails. */
const failingRegion = (words: readonly string[]): number =>
  Number(
    parseCmdline(words.join(' ')).findLast(
      ({ name }) => name === 'tdx_fail_region',
    )?.value ?? 0,
  )

const failure = (
  stage: Stage,
  errno: number | null,
  why: string,
  tdmr?: Range,
): Failure => ({ stage, errno, why, tdmr })

/** RDRAND_RETRY_LOOPS: sc_retry() tries this often when entropy is short. */
const ENTROPY_TRIES = 10
const NO_ENTROPY = status('RND_NO_ENTROPY')

const faultFailures = (
  { platform }: CaseInput,
  { leaves, retriesEntropy }: HostKernel,
): Failure[] =>
  platform.faults.flatMap((fault): Failure[] => {
    const stage = STAGE_OF_LEAF.get(LEAF[fault.leaf])
    if (!stage || !leaves.has(fault.leaf)) return []
    if (fault.cpu !== undefined && fault.leaf !== 'SYS_LP_INIT')
      return [{ stage, open: `which CPU executes ${fault.leaf} is not known` }]
    if (fault.status === NO_ENTROPY && retriesEntropy) {
      if (fault.times < ENTROPY_TRIES) return []
      // CPUs that try at the same time use up the refusals together.
      const shared = fault.cpu === undefined && platform.lps > 1
      if (shared && fault.times < ENTROPY_TRIES * platform.lps)
        return [{ stage, open: 'which CPU is refused how often is not known' }]
    }
    return [failure(stage, ERRNO.EIO, `the platform makes ${fault.leaf} fail`)]
  })

const platformFailures = (
  { platform, words }: CaseInput,
  { leaves, needsAllCpus }: HostKernel,
): Failure[] => {
  const failures: Failure[] = []
  if (!platform.module)
    failures.push(
      failure('sys-init', ERRNO.ENODEV, 'the TDX module is not loaded'),
    )
  const [, endKeyid] = privateKeyids(platform)
  if (endKeyid > MAX_KEYIDS)
    failures.push(
      failure(
        'sys-init',
        ERRNO.EIO,
        `the module takes KeyIDs below ${MAX_KEYIDS}`,
      ),
    )
  if (!validCmrs(platform))
    failures.push(
      failure(
        'sys-init',
        ERRNO.EIO,
        'the CMRs overlap, or are not in order or pages',
      ),
    )
  if (new Set(platform.packageOf).size > MAX_PACKAGES)
    failures.push(
      failure(
        'lp-init',
        ERRNO.EIO,
        `the module takes ${MAX_PACKAGES} packages at most`,
      ),
    )
  if (
    leaves.has('SYS_RD') &&
    platform.module !== null &&
    !PROFILES[platform.module].leaves.has(LEAF.SYS_RD)
  )
    failures.push(
      failure(
        'sys-info',
        ERRNO.EIO,
        `module ${platform.module} has no TDH.SYS.RD`,
      ),
    )
  const fewer = fewerCpus(words)
  if (fewer !== undefined && platform.lps > 1)
    failures.push({
      stage: needsAllCpus ? 'checks' : 'lp-init',
      open: `${fewer} decides how many logical processors are initialised`,
    })
  return failures
}

const tdmrFailures = ({ tdmrOutcome }: Layout): Failure[] => {
  switch (tdmrOutcome.kind) {
    case 'fits':
      return []
    case 'open':
      return [{ stage: tdmrOutcome.stage, open: tdmrOutcome.reason }]
    case 'exhausted':
      return [
        failure(
          tdmrOutcome.stage,
          ERRNO.ENOSPC,
          tdmrOutcome.stage === 'tdmrs'
            ? `more than ${MODULE_LIMITS.maxTdmrs} TDMRs are needed`
            : `a TDMR needs more than ${MODULE_LIMITS.maxReservedPerTdmr} reserved areas`,
          tdmrOutcome.tdmr,
        ),
      ]
  }
}

/**
 * Every region must lie in convertible memory: the kernel looks itself, where
 * two CMRs that touch are two, or TDH.SYS.CONFIG does, where they are one.
 */
const convertibleFailures = (
  { platform }: CaseInput,
  layout: Layout,
  { checksCmrs }: HostKernel,
): Failure[] => {
  const cmrs = checksCmrs ? platform.cmrs : union(platform.cmrs)
  const outside = layout.regions.find(
    region => !cmrs.some(cmr => contains(cmr, region)),
  )
  if (!outside) return []
  const why = `region ${formatNodeRange(outside)} is not in one CMR`
  return checksCmrs
    ? [failure('sys-info', ERRNO.EINVAL, why)]
    : [failure('sys-config', ERRNO.EIO, why)]
}
