import { type PamtSource, memoryParameters } from './cmdline.ts'
import type { FatalLayout } from './fatal-layout.ts'
import type { E820Entry } from './e820.ts'
import { memblockMemory } from './memblock.ts'
import { memoryMap } from './memory-map.ts'
import { assignNodes } from './numa.ts'
import { type PamtPlacement, pamtMayNotFit, placePamts } from './pamt.ts'
import { type NodeRange, type Range, intersect, sizeOf } from './range.ts'
import { KIB, PAGE_SIZE } from '../base/units.ts'
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
export interface TdmrPrediction extends TdmrModel, PamtPlacement {}

/** A way in which the construction of TDMRs must fail, or may. */
export type TdmrFailure =
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
  readonly srat: SratReading['blocks']
  readonly memblock: readonly NodeRange[]
  /** Why everything is on node 0; undefined when the SRAT was used. */
  readonly numaFallback: string | undefined
  readonly regions: readonly NodeRange[]
  readonly tdmrs: readonly TdmrPrediction[]
  /** What the module takes, as it says itself. */
  readonly limits: TdmrLimits
  readonly pamtKib: number
  /** In the order of the kernel's code; nothing comes after a certain one. */
  readonly tdmrFailures: readonly TdmrFailure[]
  /** The kernel panics on the map: `Invalid user supplied memory map`. */
  readonly invalidMap: boolean
  /** Why the kernel does not survive its layout; undefined when it does. */
  readonly fatal: FatalLayout | undefined
  /** What the model does not follow: the layout may differ. */
  readonly unpredictable: readonly string[]
}

/** Everything a layout follows from. */
export interface LayoutInput {
  readonly firmware: Firmware
  readonly cmdline: string
  /** Of the TDX module. */
  readonly limits: TdmrLimits
  /** Of the kernel. */
  readonly rules: MemoryRules
  /**
   * Bytes that the kernel's real mode code takes (real_mode_blob); default:
   * those of the shipped kernels.
   */
  readonly realMode?: number | undefined
}

/** Predicts the layout from what a machine has and what it is asked to do. */
export const predictLayout = ({
  firmware,
  cmdline,
  limits,
  rules,
  realMode = REAL_MODE,
}: LayoutInput): Layout => {
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
    fatal:
      tooFewEntries(firmware, rules) ??
      nodes.fatal ??
      noTrampoline(memory, realMode),
    unpredictable: [
      ...parameters.unpredictable,
      ...(map.kernelInHole ? ['a hole where the kernel image may lie'] : []),
    ],
    ...layoutOfRegions(
      tdxMemoryRegions(nodes.ranges),
      limits,
      parameters.pamtSource,
    ),
  }
}

/**
 * A shorter map is not used. The kernel then asks what the boot loader says in
 * other ways (e820__memory_setup_default()), and QEMU says nothing.
 */
const tooFewEntries = (
  { e820 }: Firmware,
  { fewestEntries }: MemoryRules,
): FatalLayout | undefined =>
  e820.length >= fewestEntries
    ? undefined
    : {
        of: 'map',
        why: `it wants ${fewestEntries} entries of a memory map, and without them finds no memory`,
      }

const REAL_MODE = 24 * KIB
const BELOW_1M: Range = { start: 64 * KIB, end: 636 * KIB }

/**
 * reserve_real_mode() (arch/x86/realmode/init.c) wants the pages of its code
 * below 1 MiB, where setup_arch() keeps the first 64 KiB to itself and
 * reserve_bios_regions() what the BIOS uses; the kernel panics without: `Real
 * mode trampoline was not allocated`.
 */
const noTrampoline = (
  memory: readonly Range[],
  realMode: number,
): FatalLayout | undefined => {
  const needed = Math.ceil(realMode / PAGE_SIZE) * PAGE_SIZE
  const fits = memory.some(range => {
    const low = intersect(range, BELOW_1M)
    return low !== undefined && sizeOf(low) >= needed
  })
  return fits
    ? undefined
    : {
        of: 'trampoline',
        why: `from 64 KiB to 636 KiB there are no ${needed / KIB} KiB in one piece for the real mode trampoline`,
      }
}

/**
 * The part of a layout that follows from the regions alone.
 *
 * @param source where PAMTs come from
 * @param movable memory they never come from
 */
export const layoutOfRegions = (
  regions: readonly NodeRange[],
  limits: TdmrLimits,
  source: PamtSource,
  movable: readonly Range[] = [],
): Pick<
  Layout,
  'regions' | 'tdmrs' | 'limits' | 'pamtKib' | 'tdmrFailures'
> => {
  const models = modelTdmrs(regions, limits)
  const plan = { tdmrs: models, regions, source, movable }
  const placements = placePamts(plan)
  // Written out: spreading costs a third of a prediction.
  const tdmrs = models.map((model, i): TdmrPrediction => {
    const { start, end, pamtSizes, pamtNode, holes } = model
    const { pamtAreas, pamtNodes } = placements[i]!
    return { start, end, pamtSizes, pamtNode, holes, pamtAreas, pamtNodes }
  })
  return {
    regions,
    tdmrs,
    limits,
    pamtKib: pamtKib(tdmrs),
    tdmrFailures: failuresOf(tdmrs, limits, pamtMayNotFit(plan)),
  }
}

const failuresOf = (
  tdmrs: readonly TdmrPrediction[],
  limits: TdmrLimits,
  mayNotFit: boolean,
): TdmrFailure[] => {
  if (tdmrs.length > limits.maxTdmrs)
    return [{ kind: 'exhausted', stage: 'tdmrs', tdmr: undefined }]
  const failures: TdmrFailure[] = mayNotFit
    ? [
        {
          kind: 'open',
          stage: 'pamt',
          reason: 'no piece of memory is surely large enough for the PAMTs',
        },
      ]
    : []
  // tdx.c takes the TDMRs in order: the first one that surely fails decides,
  // unless an earlier one may fail too.
  for (const { start, end, holes, pamtAreas } of tdmrs) {
    if (holes.length + pamtAreas.max <= limits.maxReservedPerTdmr) continue
    if (holes.length + pamtAreas.min > limits.maxReservedPerTdmr) {
      // Which TDMR the message names is not known after an open one.
      const named = failures.every(({ stage }) => stage !== 'reserved-areas')
      failures.push({
        kind: 'exhausted',
        stage: 'reserved-areas',
        tdmr: named ? { start, end } : undefined,
      })
      return failures
    }
    failures.push({
      kind: 'open',
      stage: 'reserved-areas',
      reason:
        `${holes.length} holes and up to ${pamtAreas.max} PAMTs for ` +
        `${limits.maxReservedPerTdmr} reserved areas: it depends on where ` +
        'the PAMTs are allocated',
    })
  }
  return failures
}
