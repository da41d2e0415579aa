import { PHYSICAL_LIMIT } from '../base/units.ts'
import { type E820Entry, e820TypeByName } from '../memory/e820.ts'
import type { NodeRange, Range } from '../memory/range.ts'

/** Kept of lists that a hostile console could grow without end. */
const LIMIT = 4096

/** The kernel prints inclusive ends: `[mem 0x...-0x...]`. */
const MEM = String.raw`\[mem (0x[0-9a-f]+)-(0x[0-9a-f]+)\]`

/** What a console says about memory. */
export interface MemoryFacts {
  readonly firmwareMap: readonly E820Entry[]
  /** With entries beyond the 128th; null when there were none. */
  readonly extendedMap: readonly E820Entry[] | null
  /** Null when the kernel printed no user-defined map. */
  readonly userMap: readonly E820Entry[] | null
  readonly srat: readonly NodeRange[]
  /** `Early memory node ranges`: memblock.memory by node. */
  readonly nodeRanges: readonly NodeRange[]
  /** `No NUMA configuration found` or `NUMA turned off`. */
  readonly numaFallback: string | null
  /** Where the console may have been cut. */
  readonly whole: {
    /** The headline of the firmware's map was there, and something after it. */
    readonly map: boolean
    /** Something came after the node ranges. */
    readonly nodeRanges: boolean
  }
  /** Lines of maps, tables and ranges that could not be taken as they are. */
  readonly unread: number
}

type Groups = readonly (string | undefined)[]

/** Reads the lines about memory, of which there is a handful of kinds. */
export class MemoryReader {
  readonly #firmwareMap: E820Entry[] = []
  readonly #srat: NodeRange[] = []
  readonly #nodeRanges: NodeRange[] = []
  #extendedMap: E820Entry[] | null = null
  #userMap: E820Entry[] | null = null
  #numaFallback: string | null = null
  #mapBegan = false
  #mapEnded = false
  #nodesEnded = false
  #unread = 0

  /** @returns whether the line was about memory */
  read(text: string): boolean {
    for (const [pattern, take] of this.#rules) {
      const match = pattern.exec(text)
      if (!match) continue
      take(match)
      return true
    }
    this.#mapEnded ||= this.#firmwareMap.length > 0
    this.#nodesEnded ||= this.#nodeRanges.length > 0
    return false
  }

  facts(): MemoryFacts {
    return {
      firmwareMap: this.#firmwareMap,
      extendedMap: this.#extendedMap,
      userMap: this.#userMap,
      srat: this.#srat,
      nodeRanges: this.#nodeRanges,
      numaFallback: this.#numaFallback,
      whole: {
        map: this.#mapBegan && this.#mapEnded,
        nodeRanges: this.#nodesEnded,
      },
      unread: this.#unread,
    }
  }

  readonly #rules: readonly (readonly [
    RegExp,
    (match: RegExpExecArray) => void,
  ])[] = [
    [
      /^BIOS-provided physical RAM map:$/,
      () => {
        this.#mapBegan = true
      },
    ],
    [
      new RegExp(`^BIOS-e820: ${MEM} +(.+)$`),
      match => {
        this.#entry(this.#firmwareMap, match)
      },
    ],
    // A line that was cut, or of a kernel that words it differently.
    [/^BIOS-e820: /, () => this.#unread++],
    [
      new RegExp(`^extended: ${MEM} (.+)$`),
      match => {
        this.#entry((this.#extendedMap ??= []), match)
      },
    ],
    [
      /^user-defined physical RAM map:$/,
      () => {
        this.#userMap = []
        this.#mapEnded = true
      },
    ],
    [
      new RegExp(`^user: ${MEM} (.+)$`),
      match => {
        this.#entry((this.#userMap ??= []), match)
      },
    ],
    [
      new RegExp(`^ACPI: SRAT: Node (\\d+) PXM \\d+ ${MEM}`),
      match => {
        this.#range(this.#srat, match)
      },
    ],
    [
      new RegExp(`^\\s*node +(-?\\d+): ${MEM}$`),
      match => {
        this.#range(this.#nodeRanges, match)
      },
    ],
    [
      /^(No NUMA configuration found|NUMA turned off)$/,
      match => (this.#numaFallback = match[1]!),
    ],
  ]

  #entry(map: E820Entry[], [, start, end, name]: Groups): void {
    const type = e820TypeByName(name ?? '')
    const range = rangeOf(start, end)
    if (type === undefined || !range || map.length >= LIMIT) this.#unread++
    else map.push({ ...range, type })
  }

  #range(list: NodeRange[], [, node, start, end]: Groups): void {
    const range = rangeOf(start, end)
    if (!range || list.length >= LIMIT) this.#unread++
    else list.push({ ...range, node: Number(node) })
  }
}

/** Undefined for what is no range of physical addresses. */
const rangeOf = (
  first: string | undefined,
  last: string | undefined,
): Range | undefined => {
  const range = { start: Number(first), end: Number(last) + 1 }
  return range.start < range.end && range.end <= PHYSICAL_LIMIT
    ? range
    : undefined
}
