import { type Range, totalSize } from './range.ts'
import type { Layout } from './predict.ts'
import { pamtBytes } from './tdmr.ts'

/** How close a layout is to what the TDX module takes. */
export interface Headroom {
  readonly tdmrs: { readonly used: number; readonly max: number }
  /** Of the TDMR that needs most; undefined when there is no TDMR. */
  readonly reservedAreas:
    | {
        readonly tdmr: Range
        /** Holes and PAMTs; PAMTs where that is not determined: at least. */
        readonly atLeast: number
        readonly atMost: number
        readonly max: number
      }
    | undefined
  readonly pamt: {
    readonly kib: number
    /** Share of the memory in the regions that PAMTs take, 0 to 1. */
    readonly share: number
  }
}

/** tdx.c prints `consumed TDMRs reaching limit` when fewer are left. */
export const TDMRS_LEFT_WARNING = 4

/** The figures of {@link Headroom} for a predicted layout. */
export const headroomOf = ({
  tdmrs,
  regions,
  pamtKib,
  limits: { maxTdmrs, maxReservedPerTdmr },
}: Layout): Headroom => {
  const needs = tdmrs.map(({ start, end, holes, pamtAreas }) => ({
    tdmr: { start, end },
    atLeast: holes.length + pamtAreas.min,
    atMost: holes.length + pamtAreas.max,
    max: maxReservedPerTdmr,
  }))
  const most = needs.reduce<(typeof needs)[number] | undefined>(
    (worst, need) => (!worst || need.atMost > worst.atMost ? need : worst),
    undefined,
  )
  const memory = totalSize(regions)
  return {
    tdmrs: { used: tdmrs.length, max: maxTdmrs },
    reservedAreas: most,
    pamt: {
      kib: pamtKib,
      share: memory === 0 ? 0 : pamtBytes(tdmrs) / memory,
    },
  }
}
