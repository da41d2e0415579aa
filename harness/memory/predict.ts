import { memoryParameters } from './cmdline.ts'
import {
  E820,
  type E820Entry,
  from,
  rangeRemove,
  rangeUpdate,
  sanitize,
  usable,
} from './e820.ts'
import type { MapOperation } from './memmap.ts'
import { assignNodes, memblockMemory } from './numa.ts'
import { type AreaBounds, pamtAreaBounds, pamtMayNotFit } from './pamt.ts'
import { type NodeRange, type Range, subtract } from './range.ts'
import { MIB } from '../base/units.ts'
import { tdxMemoryRegions } from './regions.ts'
import { type TdmrLimits, type TdmrModel, modelTdmrs, pamtKib } from './tdmr.ts'

/** What the firmware hands to the kernel. */
export interface Firmware {
  readonly e820: readonly E820Entry[]
  /** SRAT memory affinity entries in table order; empty without a SRAT. */
  readonly srat: readonly NodeRange[]
  /**
   * Where the kernel image lies, `_text` to `_end`; undefined while no kernel
   * was chosen.
   */
  readonly kernelImage?: Range | undefined
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
  /** The map after `mem=` and `memmap=`; undefined when neither is given. */
  readonly userMap: readonly E820Entry[] | undefined
  readonly memblock: readonly NodeRange[]
  /** Why everything is on node 0; undefined when the SRAT was used. */
  readonly numaFallback: string | undefined
  readonly regions: readonly NodeRange[]
  readonly tdmrs: readonly TdmrPrediction[]
  readonly pamtKib: number
  readonly tdmrOutcome: TdmrOutcome
  /** The kernel panics on the map: `Invalid user supplied memory map`. */
  readonly invalidMap: boolean
  /** Parameters that the model does not follow: the layout may differ. */
  readonly unpredictable: readonly string[]
}

/** Predicts the layout from what a machine has and what it is asked to do. */
export const predictLayout = (
  firmware: Firmware,
  cmdline: string,
  limits: TdmrLimits,
): Layout => {
  const parameters = memoryParameters(cmdline)
  const firmwareMap = sanitize(firmware.e820) ?? firmware.e820
  const asked = parameters.operations.length > 0
  const userMap = asked
    ? sanitize(parameters.operations.reduce(apply, firmwareMap))
    : undefined
  const { kernelImage = LIKELY_KERNEL } = firmware
  const table = userMap ?? firmwareMap
  const uncertain = !firmware.kernelImage && !isRam(table, kernelImage)
  const { ranges: memblock, fallback } = assignNodes(
    memblockMemory(trimBiosRange(usable(addKernelRange(table, kernelImage)))),
    firmware.srat,
    parameters.numaOff,
  )
  return {
    firmwareMap,
    userMap,
    memblock,
    numaFallback: fallback,
    invalidMap: asked && userMap === undefined,
    unpredictable: [
      ...parameters.unpredictable,
      ...(uncertain ? ['a hole where the kernel image may lie'] : []),
    ],
    ...layoutOfRegions(
      tdxMemoryRegions(memblock),
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
  const tdmrs = models.map(tdmr => ({
    ...tdmr,
    pamtAreas: pamtAreaBounds(tdmr, plan),
  }))
  return {
    regions,
    tdmrs,
    pamtKib: pamtKib(tdmrs),
    tdmrOutcome: outcomeOf(tdmrs, limits, pamtMayNotFit(plan)),
  }
}

const apply = (
  table: readonly E820Entry[],
  operation: MapOperation,
): readonly E820Entry[] => {
  switch (operation.kind) {
    case 'exact':
      return []
    case 'add':
      return [...table, { ...operation.range, type: operation.type }]
    case 'limit':
      return rangeRemove(table, from(operation.size), E820.RAM)
    case 'remove':
      return rangeRemove(table, operation.range, operation.type)
    case 'retype':
      return rangeUpdate(table, operation.range, operation.from, operation.to)
  }
}

/** CONFIG_PHYSICAL_START and more than any kernel of ours needs. */
const LIKELY_KERNEL: Range = { start: 16 * MIB, end: 48 * MIB }

const isRam = (table: readonly E820Entry[], range: Range): boolean =>
  subtract(range, usable(table)).length === 0

/**
 * e820_add_kernel_range() (arch/x86/kernel/setup.c): the memory the kernel
 * runs in is RAM, whatever memmap= says about it.
 */
const addKernelRange = (
  table: readonly E820Entry[],
  image: Range,
): readonly E820Entry[] =>
  isRam(table, image)
    ? table
    : [...rangeRemove(table, image), { ...image, type: E820.RAM }]

/**
 * trim_bios_range() (arch/x86/kernel/setup.c): page 0 and the legacy hole are
 * never RAM, whatever the map says.
 */
const trimBiosRange = (ram: readonly Range[]): Range[] =>
  [
    { start: 0, end: 0x1000 },
    { start: 0xa0000, end: 0x100000 },
  ]
    .reduce<readonly E820Entry[]>(
      (table, range) => rangeRemove(table, range),
      ram.map(range => ({ ...range, type: E820.RAM })),
    )
    .filter(range => range.start < range.end)

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
