import { GIB, MIB } from '../base/units.ts'
import type { Range } from '../memory/range.ts'
import { union } from '../memory/range.ts'
import { type StatusName, statusWithBytes } from './status.ts'
import { type Span, type TdmrInfo, reservedSpans } from './tdmr-info.ts'

/**
 * The checks of TDH.SYS.CONFIG on the TDMRs, in the module's order
 * (src/vmm_dispatcher/api_calls/tdh_sys_config.c). Each returns the first
 * status that fails; the module stops there.
 */

/** What the checks need to know besides the TDMRs. */
export interface ConfigLimits {
  readonly cmrs: readonly Range[]
  /** First address that does not exist: 2 to the physical address width. */
  readonly maxAddress: bigint
  /** For pages of 4K, 2M and 1G. */
  readonly pamtEntrySizes: readonly [number, number, number]
}

type Result = bigint | undefined

const U64 = 1n << 64n
const PAGE = 4096n
const GIB_N = BigInt(GIB)
const LEVEL_PAGE = [PAGE, BigInt(2 * MIB), GIB_N] as const

const end = ({ base, size }: Span): bigint => base + size
const overflows = (span: Span): boolean => end(span) >= U64
const aligned = (value: bigint, step: bigint): boolean => value % step === 0n
const overlap = (a: Span, b: Span): boolean =>
  a.base < end(b) && b.base < end(a)
const fail = (name: StatusName, ...bytes: number[]): bigint =>
  statusWithBytes(name, ...bytes)

/**
 * The checks on one TDMR, given those before it.
 *
 * @param tdmrs at least those up to `index`
 * @returns the first status that fails, if any
 */
export const checkTdmr = (
  tdmrs: readonly TdmrInfo[],
  index: number,
  limits: ConfigLimits,
): Result => {
  const tdmr = tdmrs[index]!
  return (
    checkSpan(tdmr, tdmrs[index - 1], index, limits) ??
    checkReserved(tdmr, index) ??
    checkPamtSpans(tdmr, index, limits) ??
    checkPamtsAgainstPamts(tdmrs, index) ??
    checkPamtsAgainstTdmrs(tdmrs, index) ??
    checkPamtsInCmrs(tdmr, index, limits) ??
    checkInCmrs(tdmr, index, limits)
  )
}

const checkSpan = (
  tdmr: TdmrInfo,
  previous: TdmrInfo | undefined,
  index: number,
  { maxAddress }: ConfigLimits,
): Result => {
  if (overflows(tdmr)) return fail('INVALID_TDMR', index)
  if (previous && (tdmr.base < previous.base || tdmr.base < end(previous)))
    return fail('NON_ORDERED_TDMR', index)
  const valid =
    aligned(tdmr.base, GIB_N) &&
    aligned(tdmr.size, GIB_N) &&
    tdmr.size > 0n &&
    end(tdmr) <= maxAddress
  return valid ? undefined : fail('INVALID_TDMR', index)
}

const checkReserved = (tdmr: TdmrInfo, index: number): Result => {
  for (const [j, area] of tdmr.reserved.entries()) {
    if (area.size === 0n) {
      // The empty entry is to blame for what follows it.
      if ((tdmr.reserved[j + 1]?.size ?? 0n) !== 0n)
        return fail('NON_ORDERED_RESERVED_IN_TDMR', index, j)
      continue
    }
    const failed = checkReservedArea(tdmr, area, tdmr.reserved[j - 1])
    if (failed) return fail(failed, index, j)
  }
  return undefined
}

const checkReservedArea = (
  tdmr: TdmrInfo,
  area: { offset: bigint; size: bigint },
  previous: { offset: bigint; size: bigint } | undefined,
): StatusName | undefined => {
  if (area.offset + area.size >= U64) return 'INVALID_RESERVED_IN_TDMR'
  if (
    previous &&
    (area.offset < previous.offset ||
      area.offset < previous.offset + previous.size)
  )
    return 'NON_ORDERED_RESERVED_IN_TDMR'
  const inside =
    aligned(area.offset, PAGE) &&
    aligned(area.size, PAGE) &&
    area.offset + area.size <= tdmr.size
  return inside ? undefined : 'INVALID_RESERVED_IN_TDMR'
}

/** 1G, 2M, 4K: the order in which the module looks at PAMTs. */
const DOWN = [2, 1, 0] as const
/** 4K, 2M, 1G: the order in which it compares them. */
const UP = [0, 1, 2] as const

const checkPamtSpans = (
  tdmr: TdmrInfo,
  index: number,
  { maxAddress, pamtEntrySizes }: ConfigLimits,
): Result => {
  for (const level of DOWN) {
    const pamt = tdmr.pamt[level]
    const needed =
      (tdmr.size / LEVEL_PAGE[level]) * BigInt(pamtEntrySizes[level])
    const valid =
      !overflows(pamt) &&
      aligned(pamt.base, PAGE) &&
      aligned(pamt.size, PAGE) &&
      end(pamt) <= maxAddress &&
      pamt.size >= needed
    if (!valid) return fail('INVALID_PAMT', index, level)
  }
  return undefined
}

const checkPamtsAgainstPamts = (
  tdmrs: readonly TdmrInfo[],
  index: number,
): Result => {
  const { pamt } = tdmrs[index]!
  for (let j = 0; j < index; j++) {
    const level = UP.find(own =>
      tdmrs[j]!.pamt.some(other => overlap(pamt[own], other)),
    )
    if (level !== undefined) return fail('PAMT_OVERLAP', index, level, j)
  }
  if (overlap(pamt[0], pamt[1]) || overlap(pamt[0], pamt[2]))
    return fail('PAMT_OVERLAP', index, 0, index)
  return overlap(pamt[1], pamt[2])
    ? fail('PAMT_OVERLAP', index, 1, index)
    : undefined
}

/** A PAMT may lie in a reserved part of a TDMR, not in the rest of it. */
const checkPamtsAgainstTdmrs = (
  tdmrs: readonly TdmrInfo[],
  index: number,
): Result => {
  const hit = (pamts: TdmrInfo, area: TdmrInfo): number =>
    UP.find(level =>
      usableSpans(area).some(span => overlap(pamts.pamt[level], span)),
    ) ?? -1
  const tdmr = tdmrs[index]!
  for (let j = 0; j <= index; j++) {
    const other = tdmrs[j]!
    const level = hit(tdmr, other)
    if (level >= 0) return fail('PAMT_OVERLAP', index, level, j)
    const reverse = j < index ? hit(other, tdmr) : -1
    if (reverse >= 0) return fail('PAMT_OVERLAP', j, reverse, index)
  }
  return undefined
}

const checkPamtsInCmrs = (
  tdmr: TdmrInfo,
  index: number,
  { cmrs }: ConfigLimits,
): Result => {
  const level = DOWN.find(level => !insideCmrs(tdmr.pamt[level], cmrs))
  return level === undefined
    ? undefined
    : fail('PAMT_OUTSIDE_CMRS', index, level)
}

const checkInCmrs = (
  tdmr: TdmrInfo,
  index: number,
  { cmrs }: ConfigLimits,
): Result =>
  usableSpans(tdmr).every(span => insideCmrs(span, cmrs))
    ? undefined
    : fail('TDMR_OUTSIDE_CMRS', index)

/** Inside one CMR, where touching CMRs count as one. */
const insideCmrs = (span: Span, cmrs: readonly Range[]): boolean =>
  union(cmrs).some(
    cmr => BigInt(cmr.start) <= span.base && end(span) <= BigInt(cmr.end),
  )

/** The parts of a TDMR that no reserved area covers. */
const usableSpans = (tdmr: TdmrInfo): Span[] => {
  const spans: Span[] = []
  let base = tdmr.base
  for (const area of reservedSpans(tdmr)) {
    if (area.base > base) spans.push({ base, size: area.base - base })
    base = end(area)
  }
  if (base < end(tdmr)) spans.push({ base, size: end(tdmr) - base })
  return spans
}
