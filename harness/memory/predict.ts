import { memoryParameters } from './cmdline.ts'
import type { E820Entry } from './e820.ts'
import { memblockMemory } from './memblock.ts'
import { memoryMap } from './memory-map.ts'
import { assignNodes } from './numa.ts'
import { type AreaBounds, pamtAreaBounds, pamtMayNotFit } from './pamt.ts'
import type { NodeRange, Range } from './range.ts'
import { tdxMemoryRegions } from './regions.ts'
import type { MemoryRules } from './rules.ts'
import type { SratReading } from './srat.ts'
import { type TdmrLimits, type TdmrModel, modelTdmrs, pamtKib } from './tdmr.ts'

/** What the firmware and the boot loader hand to the kernel. */
export interface Firmware {
  /** In any order and shape. */
  readonly e820: readonly E820Entry[]
  /** Undefined: there is none. */
  readonly srat: SratReading | undefined
  /**
   * Where the kernel image lies, `_text` to `_end`; undefined while no kernel
   * was chosen.
   */
  readonly kernelImage?: Range | undefined
  /** Where entries beyond the 128th are handed over. */
  readonly setupData?: Range | undefined
}

/** A TDMR with the reserved areas its holes and PAMTs need. */
export interface TdmrPrediction extends TdmrModel {
  readonly pamtAreas: AreaBounds
}

/** How the construction of TDMRs must end. */
export type TdmrOutcome =
  | { readonly kind: 'fits' }
  /** tdx.c stops here with -ENOSPC; `tdmr` is the one its message names. */
  | {
      readonly kind: 'exhausted'
      readonly stage: 'tdmrs' | 'reserved-areas'
      readonly tdmr: Range | undefined
    }
  /** Depends on where the page allocator puts the PAMTs. */
  | {
      readonly kind: 'open'
      readonly stage: 'pamt' | 'reserved-areas'
      readonly reason: string
    }

/** The memory layout a kernel must build from a firmware map and a cmdline. */
export interface Layout {
  /** The e820 map the kernel announces as the firmware's. */
  readonly firmwareMap: readonly E820Entry[]
  /** With the entries beyond the 128th; undefined when there are none. */
  readonly extendedMap: readonly E820Entry[] | undefined
  /** The map after `mem=` and `memmap=`; undefined when neither is given. */
  readonly userMap: readonly E820Entry[] | undefined
  /** Memory affinity the kernel announces. */
  readonly srat: readonly NodeRange[]
  readonly memblock: readonly NodeRange[]
  /** Why everything is on node 0; undefined when the SRAT was used. */
  readonly numaFallback: string | undefined
  readonly regions: readonly NodeRange[]
  readonly tdmrs: readonly TdmrPrediction[]
  readonly pamtKib: number
  readonly tdmrOutcome: TdmrOutcome
  /** The kernel panics on the map: `Invalid user supplied memory map`. */
  readonly invalidMap: boolean
  /** What the model does not follow: the layout may differ. */
  readonly unpredictable: readonly string[]
}

/** Predicts the layout from what a machine has and what it is asked to do. */
export const predictLayout = (
  firmware: Firmware,
  cmdline: string,
  limits: TdmrLimits,
  rules: MemoryRules,
): Layout => {
  const parameters = memoryParameters(cmdline)
  const { sratIgnored, fake } = parameters
  const { srat } = firmware
  const map = memoryMap(firmware, parameters.operations, rules)
  const memory = memblockMemory(map.ram)
  const nodes = assignNodes(
    { memory, srat, ignored: sratIgnored, fake, endOfMap: map.end },
    rules,
  )
  return {
    firmwareMap: map.firmware,
    extendedMap: map.extended,
    userMap: map.user,
    srat: sratIgnored ? [] : (srat?.blocks ?? []),
    memblock: nodes.ranges,
    numaFallback: nodes.fallback,
    invalidMap: map.invalid,
    unpredictable: [
      ...parameters.unpredictable,
      ...(nodes.unsure === undefined ? [] : [nodes.unsure]),
      ...(map.kernelInHole ? ['a hole where the kernel image may lie'] : []),
    ],
    ...layoutOfRegions(
      tdxMemoryRegions(nodes.ranges),
      limits,
      parameters.pamtAnywhere,
    ),
  }
}

/**
 * The part of a layout that follows from the regions alone.
 *
 * @param anywhere PAMTs may come from any zone
 */
export const layoutOfRegions = (
  regions: readonly NodeRange[],
  limits: TdmrLimits,
  anywhere: boolean,
): Pick<Layout, 'regions' | 'tdmrs' | 'pamtKib' | 'tdmrOutcome'> => {
  const models = modelTdmrs(regions, limits)
  const plan = { tdmrs: models, regions, anywhere }
  const areas = pamtAreaBounds(plan)
  const tdmrs = models.map((tdmr, i) => ({ ...tdmr, pamtAreas: areas[i]! }))
  return {
    regions,
    tdmrs,
    pamtKib: pamtKib(tdmrs),
    tdmrOutcome: outcomeOf(tdmrs, limits, pamtMayNotFit(plan)),
  }
}

const outcomeOf = (
  tdmrs: readonly TdmrPrediction[],
  limits: TdmrLimits,
  mayNotFit: boolean,
): TdmrOutcome => {
  if (tdmrs.length > limits.maxTdmrs)
    return { kind: 'exhausted', stage: 'tdmrs', tdmr: undefined }
  if (mayNotFit)
    return {
      kind: 'open',
      stage: 'pamt',
      reason: 'no piece of memory is surely large enough for the PAMTs',
    }
  // tdx.c takes the TDMRs in order: the first one that surely fails decides,
  // unless an earlier one may fail too.
  for (const tdmr of tdmrs) {
    const { holes, pamtAreas } = tdmr
    if (holes.length + pamtAreas.min > limits.maxReservedPerTdmr)
      return {
        kind: 'exhausted',
        stage: 'reserved-areas',
        tdmr: { start: tdmr.start, end: tdmr.end },
      }
    if (holes.length + pamtAreas.max > limits.maxReservedPerTdmr)
      return {
        kind: 'open',
        stage: 'reserved-areas',
        reason:
          `${holes.length} holes and up to ${pamtAreas.max} PAMTs for ` +
          `${limits.maxReservedPerTdmr} reserved areas: it depends on where ` +
          'the PAMTs are allocated',
      }
  }
  return { kind: 'fits' }
}
