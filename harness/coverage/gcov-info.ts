/** Counters of one function, as gcc keeps them. */
export interface FunctionCounters {
  readonly ident: number
  readonly linenoChecksum: number
  readonly cfgChecksum: number
  /** How often each arc of its flow graph was taken. */
  readonly arcs: readonly bigint[]
}

/** Counters of one object file. */
export interface ObjectCounters {
  /** Where the compiler wanted them to be written: `.../tdx.gcda`. */
  readonly path: string
  /** gcc's version of the format, as four characters of a number. */
  readonly version: number
  /** Joins them to the compiler's notes (.gcno). */
  readonly stamp: number
  /** Since gcc 12. */
  readonly checksum: number
  readonly functions: readonly FunctionCounters[]
}

/** Memory of a kernel by virtual address. */
export type ReadVirtual = (address: bigint, length: number) => Buffer

/**
 * How many kinds of counters a version of gcc has (GCOV_COUNTERS); the first
 * one counts arcs (kernel/gcov/gcc_4_7.c, gcc/gcov-counter.def).
 */
const COUNTERS: readonly { readonly since: number; readonly kinds: number }[] =
  [
    { since: 15, kinds: 10 },
    { since: 14, kinds: 9 },
    { since: 10, kinds: 8 },
  ]

/** No file has more functions, no function more arcs; memory may be damaged. */
const MAX_FUNCTIONS = 10_000
const MAX_ARCS = 100_000
const MAX_OBJECTS = 1_000
const MAX_PATH = 4_096

/** `B22*` of gcc 12.2 becomes 12 (gcov-io.h, "The version number"). */
export const gccMajor = (version: number): number => {
  const tens = (version >>> 24) - 'A'.charCodeAt(0)
  const ones = ((version >>> 16) & 0xff) - '0'.charCodeAt(0)
  return tens * 10 + ones
}

const pointer = (read: ReadVirtual, at: bigint): bigint =>
  read(at, 8).readBigUInt64LE()

const word = (read: ReadVirtual, at: bigint): number =>
  read(at, 4).readUInt32LE()

const textAt = (read: ReadVirtual, at: bigint): string => {
  let text = ''
  for (let i = 0; i < MAX_PATH; i++) {
    const byte = read(at + BigInt(i), 1)[0]!
    if (byte === 0) break
    text += String.fromCharCode(byte)
  }
  return text
}

/**
 * Walks the list of struct gcov_info that a kernel with CONFIG_GCOV_KERNEL
 * keeps (kernel/gcov/gcc_4_7.c): `gcov_info_head` points to the first.
 *
 * @param head virtual address of `gcov_info_head`
 * @throws RangeError when the list, or memory behind it, is damaged
 */
export const readGcovInfo = (
  read: ReadVirtual,
  head: bigint,
): ObjectCounters[] => {
  const objects: ObjectCounters[] = []
  let at = pointer(read, head)
  while (at !== 0n) {
    if (objects.length >= MAX_OBJECTS)
      throw new RangeError(`more than ${MAX_OBJECTS} files with counters`)
    objects.push(readObject(read, at))
    at = pointer(read, at + 8n)
  }
  return objects
}

const readObject = (read: ReadVirtual, at: bigint): ObjectCounters => {
  const version = word(read, at)
  const major = gccMajor(version)
  const kinds = COUNTERS.find(({ since }) => major >= since)?.kinds
  if (kinds === undefined)
    throw new RangeError(
      `expected counters of gcc 10 or newer, found version 0x${version.toString(16)}`,
    )
  // Behind version, next and stamp; the checksum is where padding was.
  const filename = at + 24n
  const count = filename + 8n + BigInt(8 * kinds)
  const total = word(read, count)
  if (total > MAX_FUNCTIONS)
    throw new RangeError(`${total} functions in one file`)
  const table = pointer(read, count + 8n)
  return {
    path: textAt(read, pointer(read, filename)),
    version,
    stamp: word(read, at + 16n),
    checksum: major >= 12 ? word(read, at + 20n) : 0,
    functions: Array.from({ length: total }, (_, i) =>
      readFunction(read, pointer(read, table + BigInt(8 * i))),
    ),
  }
}

/** struct gcov_fn_info, with the first struct gcov_ctr_info behind it. */
const readFunction = (read: ReadVirtual, at: bigint): FunctionCounters => {
  const total = word(read, at + 24n)
  if (total > MAX_ARCS) throw new RangeError(`${total} arcs in one function`)
  const values = read(pointer(read, at + 32n), 8 * total)
  return {
    ident: word(read, at + 8n),
    linenoChecksum: word(read, at + 12n),
    cfgChecksum: word(read, at + 16n),
    arcs: Array.from({ length: total }, (_, i) =>
      values.readBigUInt64LE(8 * i),
    ),
  }
}
