import { addMemory } from '../memory/memblock.ts'
import {
  type Layout,
  layoutOfRegions,
  predictLayout,
} from '../memory/predict.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import { tdxMemoryRegions } from '../memory/regions.ts'
import type { MemoryRules } from '../memory/rules.ts'
import { machineFirmware } from '../scenario/machine-spec.ts'
import { NEWEST_SERIES, type Series } from '../tdx/series/index.ts'
import { seriesOfVersion, whyUnknown } from '../tdx/series/recognise.ts'
import { limitsOf } from '../tdx/metadata-values.ts'
import { predictEnding } from './predict-ending.ts'
import {
  type PredictedMemory,
  hotAddedBefore,
  predictMemory,
} from './predict-memory.ts'
import { handsOver, nextInput } from './predict-next.ts'
import {
  type PredictedMachineCheck,
  predictMachineCheck,
} from './predict-machine-check.ts'
import { type PredictedRetry, predictTries } from './predict-retries.ts'
import { type PredictedUpdate, predictUpdates } from './predict-updates.ts'
import {
  type CaseInput,
  type Ending,
  type PredictedOutcome,
  stepsBefore,
} from './predicted-ending.ts'

/** What the rig expects of a case before it boots. */
export interface Prediction extends Ending {
  /** Its regions are those the kernel initialises the module with. */
  readonly layout: Layout
  /** The list after the early initcalls; undefined: not known. */
  readonly regionsAtBoot: readonly NodeRange[] | undefined
  /** For each step that has to do with memory; empty: not known. */
  readonly memory: readonly PredictedMemory[]
  /** For each step that updates the module; empty: not known. */
  readonly updates: readonly PredictedUpdate[]
  /**
   * The kernel before hands memory over, and memblock has ranges of it apart:
   * which ones is that kernel's choice.
   */
  readonly handover?: boolean
  /** For each step that asks again; empty: nobody is asked, or not known. */
  readonly retries: readonly PredictedRetry[]
  /** Of the step that poisons memory; undefined: there is none, or it is open. */
  readonly machineCheck?: PredictedMachineCheck | undefined
  /** Of the kernel that a kexec step starts; undefined: there is none. */
  readonly next?: Prediction | undefined
}

/** What a prediction depends on beside the case. */
export interface PredictionOptions {
  /** Undefined: a series the model does not know; the outcome stays open. */
  readonly series: Series | undefined
  /** As the image names it, to say what an unknown series is. */
  readonly release?: string | undefined
  /** It calls the TDX module; default: it does. */
  readonly hostsTdx?: boolean
  /** It has hibernation; default: it does not. */
  readonly hibernates?: boolean
  /** It takes tdx_fail_region=. */
  readonly failsRegions?: boolean
  /** Where the kernel lies; matters when memmap= touches it. */
  readonly kernelImage?: Range | undefined
  /** Bytes of its real mode code, which must fit below 1 MiB. */
  readonly realMode?: number | undefined
}

/** For the kernel that ships and does what a series does, unseen. */
export const optionsOf = (series: Series): PredictionOptions => ({
  series,
  failsRegions: series.shippedKernel?.failsRegions ?? false,
})

/** What a layout depends on beside machine and command line. */
interface LayoutOptions {
  readonly rules: MemoryRules
  readonly kernelImage?: Range | undefined
  readonly realMode?: number | undefined
}

/** The layout of boot memory. */
export const layoutOn = (
  {
    machine,
    words,
    platform,
  }: Pick<CaseInput, 'machine' | 'words' | 'platform'>,
  { rules, kernelImage, realMode }: LayoutOptions,
): Layout =>
  predictLayout({
    firmware: { ...machineFirmware(machine), kernelImage },
    cmdline: words.join(' '),
    limits: limitsOf(platform),
    rules,
    realMode,
  })

/** Predicts layout and outcome from the asked machine and cmdline alone. */
export const predictCase = (
  item: CaseInput,
  options: PredictionOptions,
): Prediction => {
  const layout = layoutOn(item, {
    // Rules of memory go by the version, whatever series of TDX is in it.
    rules: (options.series ?? seriesOfVersion(options.release) ?? NEWEST_SERIES)
      .memoryRules,
    kernelImage: options.kernelImage,
    realMode: options.realMode,
  })
  const prediction = predictFrom(item, layout, options)
  const next = predictNext(item, prediction, {
    ...options,
    // Where kexec puts the image is not known yet.
    kernelImage: undefined,
  })
  return next ? { ...prediction, next } : prediction
}

/**
 * The prediction for the kernel that a kexec step starts.
 *
 * @param before the prediction for the kernel that starts it
 */
export const predictNext = (
  item: CaseInput,
  before: Prediction,
  options: PredictionOptions,
): Prediction | undefined => {
  const input = nextInput(item, { ...before, series: options.series })
  if (!input) return undefined
  const handover = handsOver(item.words)
  const prediction = { ...predictCase(input, options), handover }
  return before.outcome === undefined && before.open !== undefined
    ? {
        ...prediction,
        outcome: undefined,
        open: `how the kernel before leaves the module: ${before.open}`,
      }
    : prediction
}

/**
 * The prediction for a layout of boot memory.
 *
 * @param boot the regions in it are those of the memory the kernel booted with
 */
export const predictFrom = (
  item: CaseInput,
  boot: Layout,
  options: PredictionOptions,
): Prediction => {
  const { series, release, hostsTdx = true } = options
  const { failsRegions = false, hibernates = false } = options
  if (series === undefined || !hostsTdx)
    return {
      layout: boot,
      regionsAtBoot: undefined,
      memory: [],
      updates: [],
      retries: [],
      outcome: undefined,
      open: hostsTdx
        ? whyUnknown(release)
        : 'the kernel has no TDX host support (CONFIG_INTEL_TDX_HOST)',
    }
  const layout = withHotAdded(item, boot, series)
  const { ending, retries } = predictTries(item, series, platform =>
    predictEnding({
      item: { ...item, platform },
      layout,
      series,
      failsRegions,
      hibernates,
    }),
  )
  const { outcome } = ending
  return {
    layout,
    ...ending,
    regionsAtBoot: listAtBoot(boot, series, outcome),
    retries,
    machineCheck: outcome && predictMachineCheck(item, series, outcome),
    memory: predictMemory({ item, layout, series, outcome }),
    updates: outcome ? predictUpdates({ item, series, outcome }) : [],
  }
}

/** A list that is built at initialisation has what was plugged before. */
const withHotAdded = (
  { steps }: CaseInput,
  boot: Layout,
  series: Series,
): Layout => {
  if (series.listBuilt === 'at boot') return boot
  // One that initialises TDX as it boots does so before its drivers start.
  if (series.trigger === 'at boot') return boot
  const added = hotAddedBefore(steps, stepsBefore(steps, series)?.length, boot)
  if (added.length === 0) return boot
  const rangesOf = (managed: boolean): NodeRange[] =>
    added.filter(one => one.managed === managed).map(({ range }) => range)
  const memory = [
    ...addMemory(boot.memblock, rangesOf(false)),
    ...rangesOf(true),
  ].sort((a, b) => a.start - b.start)
  return {
    ...boot,
    ...layoutOfRegions(tdxMemoryRegions(memory), boot.limits, 'moved'),
  }
}

/** The list after the early initcalls; it is gone when TDX was disabled. */
const listAtBoot = (
  { regions }: Layout,
  { listBuilt }: Series,
  outcome: PredictedOutcome | undefined,
): readonly NodeRange[] =>
  listBuilt === 'at boot' &&
  outcome?.outcome !== 'absent' &&
  outcome?.outcome !== 'disabled'
    ? regions
    : []
