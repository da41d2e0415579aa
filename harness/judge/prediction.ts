import { MIB } from '../base/units.ts'
import type { Outcome, Stage } from '../console/outcome.ts'
import { STAGES, STAGE_OF_LEAF } from '../console/outcome.ts'
import { q35FirmwareMap, q35Srat } from '../memory/firmware-map.ts'
import { type Layout, predictLayout } from '../memory/predict.ts'
import {
  type Range,
  contains,
  formatNodeRange,
  totalSize,
  union,
} from '../memory/range.ts'
import type { Case } from '../scenario/case.ts'
import { LEAF, type LeafName } from '../tdx/leaves.ts'
import {
  MAX_KEYIDS,
  MAX_PACKAGES,
  MODULE_LIMITS,
  privateKeyids,
  validCmrs,
} from '../tdx/platform.ts'
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

/** What the rig expects of a case before it boots. */
export interface Prediction {
  readonly layout: Layout
  /** Undefined when it depends on what is not known before the boot. */
  readonly outcome: PredictedOutcome | undefined
  /** Why {@link outcome} is undefined. */
  readonly open: string | undefined
}

/** errno values of the kernel (include/uapi/asm-generic/errno-base.h). */
const EIO = -5
const ENODEV = -19
const ENOSPC = -28

/** Below this a boot runs out of memory before it comes to TDX. */
const TOO_LITTLE = 128 * MIB

type CaseInput = Pick<Case, 'machine' | 'platform' | 'words'>

/**
 * Predicts layout and outcome from the asked machine and cmdline alone.
 *
 * @param kernelImage where the kernel lies; matters when memmap= touches it
 */
export const predictCase = (
  item: CaseInput,
  kernelImage?: Range,
): Prediction => {
  const { memory, packages, nodeCpus } = item.machine
  const layout = predictLayout(
    {
      e820: q35FirmwareMap(memory, packages),
      srat: q35Srat(memory, nodeCpus),
      kernelImage,
    },
    item.words.join(' '),
    MODULE_LIMITS,
  )
  return { layout, ...predictOutcome(item, layout) }
}

/**
 * The first step of the initialisation that must fail, in the order of
 * init_tdx_module() (arch/x86/virt/vmx/tdx/tdx.c), or its success.
 */
export const predictOutcome = (
  item: CaseInput,
  layout: Layout,
): Pick<Prediction, 'outcome' | 'open'> => {
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
  const before = earlyOutcome(item)
  if (before) return { outcome: before, open: undefined }
  const failures = [
    ...platformFailures(item),
    ...faultFailures(item),
    ...tdmrFailures(layout),
    ...configFailures(item, layout),
  ].sort((a, b) => order(a.stage) - order(b.stage))
  const [first] = failures
  if (!first)
    return {
      outcome: {
        outcome: 'initialized',
        stage: 'done',
        errno: null,
        why: 'every step of the initialisation must succeed',
      },
      open: undefined,
    }
  return 'open' in first
    ? { outcome: undefined, open: first.open }
    : { outcome: { outcome: 'failed', ...first }, open: undefined }
}

type Failure =
  | (Omit<PredictedOutcome, 'outcome'> & { readonly stage: Stage })
  | { readonly stage: Stage; readonly open: string }

const order = (stage: Stage): number => STAGES.indexOf(stage)

/** What tdx_init() decides at boot, before anything is tried. */
const earlyOutcome = ({
  platform,
}: CaseInput): PredictedOutcome | undefined => {
  const { tdx } = platform.keyids
  if (tdx === 0)
    return {
      outcome: 'absent',
      stage: null,
      errno: null,
      why: 'MSR 0x87 announces no private KeyID: tdx_init() returns silently',
    }
  if (tdx < 2)
    return {
      outcome: 'disabled',
      stage: 'checks',
      errno: null,
      why: 'one private KeyID is the global one: none is left for guests',
    }
  return undefined
}

const failure = (
  stage: Stage,
  errno: number | null,
  why: string,
  tdmr?: Range,
): Failure => ({ stage, errno, why, tdmr })

/** RDRAND_RETRY_LOOPS: sc_retry() tries this often when entropy is short. */
const ENTROPY_TRIES = 10
const NO_ENTROPY = status('RND_NO_ENTROPY')

/** Leaves the initialisation of Linux 6.8 to 6.15 calls. */
const CALLED: ReadonlySet<LeafName> = new Set([
  ...(['SYS_INIT', 'SYS_LP_INIT', 'SYS_RD'] as const),
  ...(['SYS_CONFIG', 'SYS_KEY_CONFIG', 'SYS_TDMR_INIT'] as const),
])

const faultFailures = ({ platform }: CaseInput): Failure[] =>
  platform.faults.flatMap((fault): Failure[] => {
    const stage = STAGE_OF_LEAF.get(LEAF[fault.leaf])
    if (!stage || !CALLED.has(fault.leaf)) return []
    if (fault.cpu !== undefined && fault.leaf !== 'SYS_LP_INIT')
      return [{ stage, open: `which CPU executes ${fault.leaf} is not known` }]
    if (fault.status === NO_ENTROPY) {
      if (fault.times < ENTROPY_TRIES) return []
      // CPUs that try at the same time use up the refusals together.
      const shared = fault.cpu === undefined && platform.lps > 1
      if (shared && fault.times < ENTROPY_TRIES * platform.lps)
        return [{ stage, open: 'which CPU is refused how often is not known' }]
    }
    return [failure(stage, EIO, `the platform makes ${fault.leaf} fail`)]
  })

const platformFailures = ({ platform, words }: CaseInput): Failure[] => {
  const failures: Failure[] = []
  if (!platform.module)
    failures.push(failure('sys-init', ENODEV, 'the TDX module is not loaded'))
  const [, endKeyid] = privateKeyids(platform)
  if (endKeyid > MAX_KEYIDS)
    failures.push(
      failure('sys-init', EIO, `the module takes KeyIDs below ${MAX_KEYIDS}`),
    )
  if (!validCmrs(platform))
    failures.push(
      failure(
        'sys-init',
        EIO,
        'the CMRs overlap, or are not in order or pages',
      ),
    )
  if (new Set(platform.packageOf).size > MAX_PACKAGES)
    failures.push(
      failure(
        'lp-init',
        EIO,
        `the module takes ${MAX_PACKAGES} packages at most`,
      ),
    )
  const fewer = fewerCpus(words)
  if (fewer !== undefined && platform.lps > 1)
    failures.push({
      stage: 'lp-init',
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
          ENOSPC,
          tdmrOutcome.stage === 'tdmrs'
            ? `more than ${MODULE_LIMITS.maxTdmrs} TDMRs are needed`
            : `a TDMR needs more than ${MODULE_LIMITS.maxReservedPerTdmr} reserved areas`,
          tdmrOutcome.tdmr,
        ),
      ]
  }
}

/** TDH.SYS.CONFIG: every region must lie in convertible memory. */
const configFailures = ({ platform }: CaseInput, layout: Layout): Failure[] => {
  const cmrs = union(platform.cmrs)
  const outside = layout.regions.find(
    region => !cmrs.some(cmr => contains(cmr, region)),
  )
  return outside
    ? [
        failure(
          'sys-config',
          EIO,
          `region ${formatNodeRange(outside)} is not in one CMR`,
        ),
      ]
    : []
}
