/** A span of physical memory as the ABI passes it. */
export interface Span {
  readonly base: bigint
  readonly size: bigint
}

/** TDMR_INFO (TDX module ABI; struct tdmr_info in tdx.h). */
export interface TdmrInfo extends Span {
  /** By level, as status details number them: 4K, 2M, 1G. */
  readonly pamt: readonly [Span, Span, Span]
  /** All entries as given, also the empty ones at the end. */
  readonly reserved: readonly {
    readonly offset: bigint
    readonly size: bigint
  }[]
}

/** Alignment of TDMR_INFO and of the array of their addresses. */
export const TDMR_INFO_ALIGNMENT = 512

const RESERVED_OFFSET = 64
const RESERVED_SIZE = 16

/** Bytes of one TDMR_INFO, without what rounds it up to its alignment. */
export const tdmrInfoSize = (maxReserved: number): number =>
  RESERVED_OFFSET + RESERVED_SIZE * maxReserved

export const decodeTdmrInfo = (
  bytes: Uint8Array,
  maxReserved: number,
): TdmrInfo => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const u64 = (offset: number): bigint => view.getBigUint64(offset, true)
  const span = (offset: number): Span => ({
    base: u64(offset),
    size: u64(offset + 8),
  })
  return {
    ...span(0),
    pamt: [span(48), span(32), span(16)],
    reserved: Array.from({ length: maxReserved }, (_, i) => ({
      offset: u64(RESERVED_OFFSET + RESERVED_SIZE * i),
      size: u64(RESERVED_OFFSET + RESERVED_SIZE * i + 8),
    })),
  }
}

/** The reserved areas in use, as absolute addresses. */
export const reservedSpans = (tdmr: TdmrInfo): Span[] =>
  tdmr.reserved
    .filter(area => area.size !== 0n)
    .map(area => ({ base: tdmr.base + area.offset, size: area.size }))
