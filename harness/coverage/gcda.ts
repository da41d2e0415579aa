import {
  type FunctionCounters,
  type ObjectCounters,
  gccMajor,
} from './gcov-info.ts'

/** gcc/gcov-io.h: magic and tags of a file of counters (.gcda). */
const MAGIC = 0x67636461
const TAG_FUNCTION = 0x01000000
const TAG_ARCS = 0x01a10000

/**
 * A file of counters as gcov reads it; the kernel writes the same into debugfs
 * (convert_to_gcda(), kernel/gcov/gcc_4_7.c).
 */
export const encodeGcda = (object: ObjectCounters): Buffer => {
  const major = gccMajor(object.version)
  const head = [MAGIC, object.version, object.stamp]
  if (major >= 12) head.push(object.checksum)
  // Lengths are in bytes since gcc 12, and were in words before.
  const unit = major >= 12 ? 4 : 1
  return words([
    ...head,
    ...object.functions.flatMap(
      ({ ident, linenoChecksum, cfgChecksum, arcs }) => [
        TAG_FUNCTION,
        3 * unit,
        ident,
        linenoChecksum,
        cfgChecksum,
        TAG_ARCS,
        2 * arcs.length * unit,
        ...arcs.flatMap(arc => [
          Number(arc & 0xffffffffn),
          Number((arc >> 32n) & 0xffffffffn),
        ]),
      ],
    ),
  ])
}

const words = (values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, i) => bytes.writeUInt32LE(value >>> 0, 4 * i))
  return bytes
}

/** Counters of several boots of one kernel, added up. */
export class SummedCounters {
  readonly #objects = new Map<string, ObjectCounters>()

  /** @throws RangeError when they are of another build */
  add(objects: readonly ObjectCounters[]): void {
    for (const object of objects) {
      const known = this.#objects.get(object.path)
      this.#objects.set(object.path, known ? sumOf(known, object) : object)
    }
  }

  get objects(): readonly ObjectCounters[] {
    return [...this.#objects.values()]
  }
}

const sumOf = (a: ObjectCounters, b: ObjectCounters): ObjectCounters => {
  if (a.stamp !== b.stamp || a.functions.length !== b.functions.length)
    throw new RangeError(`the counters of ${a.path} are of two builds`)
  return {
    path: a.path,
    version: a.version,
    stamp: a.stamp,
    checksum: a.checksum,
    functions: a.functions.map((one, i) => sumOfArcs(one, b.functions[i]!)),
  }
}

const sumOfArcs = (
  a: FunctionCounters,
  b: FunctionCounters,
): FunctionCounters => {
  if (a.ident !== b.ident || a.arcs.length !== b.arcs.length)
    throw new RangeError('the counters of a function are of two builds')
  return {
    ident: a.ident,
    linenoChecksum: a.linenoChecksum,
    cfgChecksum: a.cfgChecksum,
    arcs: a.arcs.map((count, i) => count + b.arcs[i]!),
  }
}
