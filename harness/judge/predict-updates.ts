import type { Case } from '../scenario/case.ts'
import type { UpdateResult } from '../scenario/steps.ts'
import { Faults } from '../tdx/fault.ts'
import { LEAF, type LeafName } from '../tdx/leaves.ts'
import { PROFILES, type ProfileName } from '../tdx/profile.ts'
import type { Series } from '../tdx/series/index.ts'
import type { PredictedOutcome } from './predicted-ending.ts'

/** What must come of an update of the module. */
export interface PredictedUpdate {
  readonly result: UpdateResult
  /** The module that answers afterwards; null: none does any more. */
  readonly module: ProfileName | null
}

export interface UpdateInput {
  readonly item: Pick<Case, 'platform' | 'steps'>
  readonly series: Series
  readonly outcome: PredictedOutcome | undefined
}

/** TDX_FEATURES0.TD_PRESERVING (asm/tdx.h). */
const TD_PRESERVING = 1n << 1n

/** MODULE_HV, which the kernel reads before it shuts the module down. */
const MODULE_HV = 0x8900000100000000n

/** Leaves of an update that fail after the module was shut down. */
const AFTER_SHUTDOWN: readonly LeafName[] = ['SEAMLDR_INSTALL', 'SYS_UPDATE']

/**
 * What comes of each update (do_seamldr_install_module(),
 * arch/x86/virt/vmx/tdx/seamldr.c): once the module was shut down nothing is
 * rolled back, and every later update fails as well.
 */
export const predictUpdates = ({
  item: { platform, steps },
  series,
  outcome,
}: UpdateInput): PredictedUpdate[] => {
  const runs = platform.module
  const offered =
    series.updatesModule &&
    // supports_runtime_update() (drivers/virt/coco/tdx-host/tdx-host.c)
    platform.seamretClearsVmcs !== true &&
    outcome?.outcome === 'initialized' &&
    runs !== null &&
    ((PROFILES[runs].features ?? 0n) & TD_PRESERVING) !== 0n
  const fails = (leaf: LeafName): boolean =>
    platform.faults.some(fault => fault.leaf === leaf)
  // Nobody has made these calls before the first update.
  const faults = new Faults(
    platform.faults.filter(
      ({ leaf, field }) => leaf === 'SYS_SHUTDOWN' || field === MODULE_HV,
    ),
  )
  /** A call of the CPU that leads an update, which counts. */
  const isRefused = (leaf: LeafName, field?: bigint): boolean =>
    faults.answer({
      leaf: LEAF[leaf],
      cpu: 0,
      package: platform.packageOf[0] ?? 0,
      field,
    }) !== undefined
  let module = runs
  let left = platform.updatesLeft
  let offline = 0
  const updates: PredictedUpdate[] = []
  for (const step of steps) {
    if (step.kind === 'offline') offline++
    if (step.kind !== 'update') continue
    if (!offered) {
      updates.push({ result: 'unavailable', module })
      continue
    }
    const { kind, module: next } = step.image
    // All are found before the module was shut down.
    const harmless =
      kind === 'bad-header' ||
      module === null ||
      isRefused('SYS_RD', MODULE_HV) ||
      isRefused('SYS_SHUTDOWN')
    const works: boolean =
      module !== null &&
      !harmless &&
      kind === 'good' &&
      offline === 0 &&
      left > 0 &&
      !AFTER_SHUTDOWN.some(fails) &&
      takesOver(module, next)
    if (works) {
      module = next
      left--
    } else if (!harmless) module = null
    updates.push({ result: works ? 'done' : 'refused', module })
  }
  return updates
}

/** The new module reads the data that the old one leaves. */
const takesOver = (from: ProfileName, to: ProfileName): boolean => {
  const { version } = PROFILES[from].handoff
  const { handoff, features } = PROFILES[to]
  return (
    features !== undefined &&
    version >= handoff.oldest &&
    version <= handoff.version
  )
}
