import type { Stage } from '../tdx/outcome.ts'
import { STAGES } from '../tdx/outcome.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import type { Layout } from '../memory/predict.ts'
import { contains, formatNodeRange, totalSize, union } from '../memory/range.ts'
import { ERRNO } from '../tdx/errno.ts'
import type { Series } from '../tdx/series/index.ts'
import {
  MAX_KEYIDS,
  MAX_PACKAGES,
  privateKeyids,
  validCmrs,
} from '../tdx/platform.ts'
import { hex } from '../base/units.ts'
import { MAX_CPUID_CONFIGS, hasField } from '../tdx/metadata.ts'
import { metadataValue } from '../tdx/metadata-values.ts'
import { PROFILES } from '../tdx/profile.ts'
import { predictEarlyEnding } from './predict-early-ending.ts'
import { hotAddedBefore } from './predict-memory.ts'
import {
  type OutcomeInput,
  type Ending,
  type EndingInput,
  type PredictedOutcome,
  offlineAtTrigger,
  stepsBefore,
} from './predicted-ending.ts'
import { type Failure, failure } from './failure.ts'
import { type FewerCpus, fewerCpus } from './fewer-cpus.ts'
import { allocationFailures } from './predict-allocations.ts'
import { faultFailures } from './predict-faults.ts'

/**
 * The first step of the initialisation that must fail, in the order of the
 * kernel's code (init_tdx_module() and what comes before it), or its success.
 */
export const predictEnding = (input: EndingInput): Ending => {
  const { item, layout, series: host } = input
  if (layout.invalidMap)
    return {
      outcome: undefined,
      open: 'the kernel panics: Invalid user supplied memory map',
    }
  if (totalSize(layout.regions) < MINIMUM_MEMORY.regions)
    return {
      outcome: undefined,
      open: 'a kernel needs more memory than this to boot',
    }
  if (layout.fatal !== undefined)
    return {
      outcome: undefined,
      open: `the kernel panics: ${layout.fatal.why}`,
    }
  const early = predictEarlyEnding(input)
  if (early) return { outcome: early, open: undefined }
  const failures = [
    ...hotAddedFailures(item, layout, host),
    ...platformFailures(item, host),
    ...offlineBefore(item, host),
    ...faultFailures({
      platform: item.platform,
      series: host,
      offline: offlineAtTrigger(item.steps, host),
    }),
    ...allocationFailures(item.allocations, layout),
    ...convertibleFailures(item, layout, host),
    ...tdmrFailures(layout),
  ].sort((a, b) => order(a.stage, host) - order(b.stage, host))
  return endingOf(failures, host)
}

const SUCCESS: PredictedOutcome = {
  outcome: 'initialized',
  stage: 'done',
  errno: null,
  why: 'every step of the initialisation must succeed',
}

/** @param failures in the order in which the kernel meets them */
const endingOf = (failures: readonly Failure[], host: Series): Ending => {
  const certain = failures.findIndex(item => !('open' in item))
  const possible = certain < 0 ? failures : failures.slice(0, certain + 1)
  const [first] = possible
  // Several open ones with a certain one of the same stage end in one way.
  const sole =
    certain >= 0 && possible.every(({ stage }) => stage === first!.stage)
  const decisive = sole ? possible.at(-1)! : first
  if (!decisive) return { outcome: SUCCESS, open: undefined }
  if ('open' in decisive)
    return {
      outcome: undefined,
      open: decisive.open,
      possible: {
        stages: [...new Set(possible.map(({ stage }) => stage))],
        initialized: certain < 0,
      },
    }
  const { unsaid = false, ...failed } = decisive
  // Nobody is told the errno, and no line comes.
  if (unsaid && host.silentStages.includes(failed.stage))
    return {
      outcome: {
        outcome: 'unfinished',
        stage: 'detect',
        errno: null,
        why: `${failed.why}, and the kernel says nothing of it`,
      },
      open: undefined,
    }
  const isNoModule = host.enodevIsNoModule && decisive.errno === ERRNO.ENODEV
  return {
    outcome: {
      outcome: 'failed',
      ...failed,
      stage: isNoModule ? 'sys-init' : decisive.stage,
      errno: errnoOf(decisive, host),
    },
    open: undefined,
  }
}

/** -ENODEV and what is found before the first SEAMCALL are never masked. */
const errnoOf = (
  { stage, errno }: { stage: Stage; errno: number | null },
  { maskedErrno, silentStages }: Series,
): number | null => {
  if (silentStages.includes(stage)) return null
  return maskedErrno === undefined ||
    errno === ERRNO.ENODEV ||
    stage === 'checks'
    ? errno
    : maskedErrno
}

/**
 * A list that is built when TDX is initialised comes right before what is
 * made of it, or before the metadata is read.
 */
const order = (
  stage: Stage,
  { listBuilt, leavesBeforeList }: Series,
): number =>
  stage === 'regions' && listBuilt === 'at initialisation'
    ? STAGES.indexOf(leavesBeforeList.has('SYS_RD') ? 'tdmrs' : 'sys-info') -
      0.5
    : STAGES.indexOf(stage)

const platformFailures = (
  { platform, words }: OutcomeInput,
  series: Series,
): Failure[] => {
  const { needsAllCpus } = series
  const failures: Failure[] = []
  if (!platform.module)
    failures.push(
      failure('sys-init', ERRNO.ENODEV, 'the TDX module is not loaded'),
    )
  if (platform.initialisedBefore === true)
    failures.push(
      failure(
        'sys-init',
        ERRNO.EIO,
        'the kernel before has initialised the module, and TDH.SYS.INIT works once (SYS_INIT_NOT_PENDING)',
      ),
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
  if (platform.module !== null && !platform.x2apic)
    failures.push(
      failure('sys-init', ERRNO.EIO, 'the module wants xAPIC mode to be off'),
    )
  failures.push(...metadataFailures(platform, series))
  const fewer = fewerCpus(words)
  if (fewer !== undefined && platform.lps > 1)
    failures.push(...offlineFailures(fewer, platform, needsAllCpus))
  return failures
}

/** TDH.SYS.CONFIG wants every logical processor to be initialised. */
const offlineFailures = (
  { name, online }: FewerCpus,
  { lps }: OutcomeInput['platform'],
  needsAllCpus: boolean,
): Failure[] => {
  if (needsAllCpus || online === undefined)
    return [
      {
        stage: needsAllCpus ? 'checks' : 'lp-init',
        open: `${name} decides how many logical processors are initialised`,
      },
    ]
  return online < lps
    ? [
        failure(
          'sys-config',
          ERRNO.EIO,
          `${name} leaves ${lps - online} of ${lps} logical processors uninitialised`,
        ),
      ]
    : []
}

/** CPUs that steps have taken offline when the module is initialised. */
const offlineBefore = (
  { platform, steps }: OutcomeInput,
  series: Series,
): Failure[] => {
  const offline = offlineAtTrigger(steps, series).size
  if (offline === 0) return []
  return [
    series.needsAllCpus
      ? failure('checks', ERRNO.EINVAL, `${offline} CPUs are offline`)
      : failure(
          'sys-config',
          ERRNO.EIO,
          `${offline} of ${platform.lps} logical processors are offline, and so uninitialised`,
        ),
  ]
}

/** What the kernel reads of the module, and what it insists on. */
const metadataFailures = (
  platform: OutcomeInput['platform'],
  { metadata, neededFeatures, maxCpuidConfigs }: Series,
): Failure[] => {
  const { module } = platform
  if (module === null || metadata.length === 0) return []
  const profile = PROFILES[module]
  if (profile.features === undefined)
    return [
      failure('sys-info', ERRNO.EIO, `module ${module} has no TDH.SYS.RD`),
    ]
  const absent = metadata.find(
    id =>
      !hasField(profile, id) ||
      metadataValue(platform.metadata, id) === 'missing',
  )
  const given = platform.metadata.TDX_FEATURES0
  const features = typeof given === 'number' ? BigInt(given) : profile.features
  const lacking = neededFeatures & ~features
  return [
    ...(absent === undefined
      ? []
      : [
          failure(
            'sys-info',
            ERRNO.EIO,
            `module ${module} has no metadata field ${hex(absent)}`,
          ),
        ]),
    ...(lacking === 0n
      ? []
      : [
          failure(
            'sys-info',
            ERRNO.EINVAL,
            `module ${module} lacks features ${hex(lacking)}`,
          ),
        ]),
    ...cpuidFailures(platform, maxCpuidConfigs),
  ]
}

/**
 * get_tdx_sys_info_td_conf(): more leaves than its arrays hold are refused
 * before one is read; of fewer the module must have each.
 */
const cpuidFailures = (
  { metadata }: OutcomeInput['platform'],
  most: number | undefined,
): Failure[] => {
  const count = metadata.NUM_CPUID_CONFIG
  if (typeof count !== 'number' || most === undefined) return []
  if (count > most)
    return [
      failure(
        'sys-info',
        ERRNO.EINVAL,
        `${count} CPUID leaves are more than the ${most} the kernel has room for`,
      ),
    ]
  return count > MAX_CPUID_CONFIGS
    ? [
        failure(
          'sys-info',
          ERRNO.EIO,
          `the module says that it has ${count} CPUID leaves and has ${MAX_CPUID_CONFIGS}`,
        ),
      ]
    : []
}

const tdmrFailures = ({
  tdmrFailures: failures,
  limits: { maxTdmrs, maxReservedPerTdmr },
}: Layout): Failure[] =>
  failures.map(item =>
    item.kind === 'open'
      ? { stage: item.stage, open: item.reason }
      : {
          stage: item.stage,
          errno: ERRNO.ENOSPC,
          why:
            item.stage === 'tdmrs'
              ? `more than ${maxTdmrs} TDMRs are needed`
              : `a TDMR needs more than ${maxReservedPerTdmr} reserved areas`,
          range: item.tdmr,
        },
  )

/**
 * alloc_contig_pages() takes any online memory, also what is in no CMR and not
 * in a list that was built before it came.
 */
const hotAddedFailures = (
  { steps }: OutcomeInput,
  layout: Layout,
  series: Series,
): Failure[] =>
  series.listBuilt === 'at boot' &&
  hotAddedBefore(steps, stepsBefore(steps, series)?.length, layout).some(
    ({ online }) => online,
  )
    ? [
        {
          stage: 'sys-config',
          open: 'PAMTs may be allocated from memory that was hot-added',
        },
      ]
    : []

/**
 * Every region must lie in convertible memory: the kernel looks itself, where
 * two CMRs that touch are two, or TDH.SYS.CONFIG does, where they are one.
 */
const convertibleFailures = (
  { platform }: OutcomeInput,
  layout: Layout,
  { checksCmrs }: Series,
): Failure[] => {
  const cmrs = checksCmrs ? platform.cmrs : union(platform.cmrs)
  const outside = layout.regions.find(
    region => !cmrs.some(cmr => contains(cmr, region)),
  )
  if (!outside) return []
  const why = `region ${formatNodeRange(outside)} is not in one CMR`
  return checksCmrs
    ? [{ stage: 'sys-info', errno: ERRNO.EINVAL, why, range: outside }]
    : [failure('sys-config', ERRNO.EIO, why)]
}
