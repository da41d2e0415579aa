import { type GlobalMetadata, type HandoffState, NO_FIELD } from './metadata.ts'

/** Bytes of what TDH.SYS.RDALL writes: a page. */
const LIST_SIZE = 4096
const LIST_HEADER = 8
const SEQUENCE_HEADER = 8
const ELEMENT = 8
/** Fields of a sequence are counted in 9 bits. */
const MAX_FIELDS = 512

/** Class of a field, and the size of its elements. */
const kindOf = (id: bigint): bigint =>
  (((id >> 56n) & 0x3fn) << 2n) | ((id >> 32n) & 3n)

interface Sequence {
  readonly first: bigint
  readonly elementsPerField: number
  readonly values: bigint[]
}

const sizeOf = ({ values }: Sequence): number =>
  SEQUENCE_HEADER + values.length * ELEMENT

/** A page with the metadata from a field on, and the field that follows. */
export interface MetadataList {
  readonly bytes: Uint8Array
  /** All ones when nothing follows. */
  readonly next: bigint
}

/**
 * The list TDH.SYS.RDALL writes (md_dump_list(), metadata_generic.c): a header
 * with its size and the number of sequences, and for each run of consecutive
 * fields its first id, with the numbers of its last element and field, and the
 * values.
 */
export const encodeList = (
  metadata: GlobalMetadata,
  first: bigint,
  handoff: HandoffState,
): MetadataList => {
  const sequences: Sequence[] = []
  let used = LIST_HEADER
  let id = first
  while (id !== NO_FIELD) {
    const elements = metadata.elementsOf(id)
    const last = sequences.at(-1)
    const joins =
      last !== undefined &&
      last.elementsPerField === elements &&
      kindOf(last.first) === kindOf(id) &&
      last.first + BigInt(last.values.length) === id &&
      last.values.length < MAX_FIELDS * elements
    const needed = elements * ELEMENT + (joins ? 0 : SEQUENCE_HEADER)
    if (used + needed > LIST_SIZE) break
    const sequence = joins
      ? last
      : { first: id, elementsPerField: elements, values: [] }
    if (!joins) sequences.push(sequence)
    for (let i = 0; i < elements; i++) {
      sequence.values.push(metadata.read(id, handoff) ?? 0n)
      id = metadata.nextId(id, handoff)
    }
    used += needed
  }
  return { bytes: encode(sequences, used), next: id }
}

const encode = (sequences: readonly Sequence[], used: number): Uint8Array => {
  const bytes = Buffer.alloc(used)
  bytes.writeUInt16LE(used, 0)
  bytes.writeUInt16LE(sequences.length, 2)
  let at = LIST_HEADER
  for (const sequence of sequences) {
    const { first, elementsPerField, values } = sequence
    const fields = values.length / elementsPerField
    const header =
      first |
      (BigInt(elementsPerField - 1) << 34n) |
      (BigInt(fields - 1) << 38n)
    bytes.writeBigUInt64LE(header, at)
    values.forEach((value, i) => {
      bytes.writeBigUInt64LE(value, at + SEQUENCE_HEADER + i * ELEMENT)
    })
    at += sizeOf(sequence)
  }
  return bytes
}
