import { PHYSICAL_LIMIT } from '../base/units.ts'
import { type E820Entry, e820TypeByName } from '../memory/e820.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import type { Located, MemoryFacts, SratCpuFact, SratFact } from './facts.ts'
import { Openings, type Rule, takeBy } from './openings.ts'
import type { LogRecord } from './log-record.ts'

/** Kept of lists that a hostile console could grow without end. */
const LIMIT = 4096

/** The kernel prints inclusive ends: `[mem 0x...-0x...]`. */
const MEM = String.raw`\[mem (0x[0-9a-f]{1,16})-(0x[0-9a-f]{1,16})\]`
/** 7.x may say how large the range is. */
const SIZE = String.raw`(?: +\d+(?:\.\d)? +[KMGT]?B(?= ))?`

type Groups = readonly (string | undefined)[]
type E820Map = Located<E820Entry>[]

/** Reads the lines about memory, of which there is a handful of kinds. */
export class MemoryReader {
  readonly #firmwareMap: E820Map = []
  readonly #srat: Located<SratFact>[] = []
  readonly #sratCpus: Located<SratCpuFact>[] = []
  readonly #nodeRanges: Located<NodeRange>[] = []
  #extendedMap: E820Map | null = null
  #userMap: E820Map | null = null
  #numaFallback: string | null = null
  #mapBegan = false
  #mapEnded = false
  #nodesEnded = false
  #unread = 0
  /** Entries of all maps, to know them again. */
  readonly #entries = new Set<string>()

  /** @returns whether the line was about memory */
  read(record: LogRecord): boolean {
    if (takeBy(this.#rules, record)) return true
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
      sratCpus: this.#sratCpus,
      nodeRanges: this.#nodeRanges,
      numaFallback: this.#numaFallback,
      whole: {
        map: this.#mapBegan && this.#mapEnded,
        nodeRanges: this.#nodesEnded,
      },
      unread: this.#unread,
    }
  }

  readonly #rules = new Openings<Rule>([
    {
      opening: 'BIOS-provided physical RAM map:',
      take: () => (this.#mapBegan = true),
    },
    ...this.#mapRules('BIOS-e820: ', () => this.#firmwareMap),
    ...this.#mapRules('extended: ', () => (this.#extendedMap ??= [])),
    {
      opening: 'user-defined physical RAM map:',
      take: () => {
        this.#userMap ??= []
        this.#mapEnded = true
      },
    },
    ...this.#mapRules('user: ', () => (this.#userMap ??= [])),
    // acpi_numa_memory_affinity_init(); older kernels left ACPI away.
    ...['ACPI: SRAT: Node ', 'SRAT: Node '].map(opening => ({
      opening,
      pattern: new RegExp(
        `Node (\\d+) PXM (\\d+) ${MEM}( hotplug)?(?: non-volatile)?$`,
      ),
      take: (match: Groups, { line }: LogRecord) => {
        const [, node, domain, start, end, hotplug] = match
        const range = this.#rangeOf(start, end, this.#srat)
        if (range)
          this.#srat.push({
            ...range,
            node: Number(node),
            domain: Number(domain),
            hotplug: hotplug !== undefined,
            line,
          })
      },
    })),
    ...['SRAT: PXM ', 'ACPI: SRAT: PXM '].map(opening => ({
      opening,
      pattern: /PXM (\d+) -> APIC (0x[0-9a-f]{1,8}) -> Node (\d+)$/,
      take: ([, domain, apic, node]: Groups, { line }: LogRecord) => {
        if (this.#sratCpus.length < LIMIT)
          this.#sratCpus.push({
            domain: Number(domain),
            apic: Number(apic),
            node: Number(node),
            line,
          })
      },
    })),
    {
      opening: 'node ',
      pattern: new RegExp(`^node +(-?\\d+): ${MEM}$`),
      take: ([, node, start, end], { line }) => {
        const range = this.#rangeOf(start, end, this.#nodeRanges)
        if (range) this.#nodeRanges.push({ ...range, node: Number(node), line })
      },
    },
    ...['No NUMA configuration found', 'NUMA turned off'].map(opening => ({
      opening,
      pattern: new RegExp(`^${opening}$`),
      take: () => (this.#numaFallback = opening),
    })),
  ])

  #mapRules(opening: string, map: () => E820Map): Rule[] {
    return [
      {
        opening,
        pattern: new RegExp(`^${opening}${MEM}${SIZE} +(.+)$`, 's'),
        take: ([, start, end, name], { line }) => {
          this.#entry(map(), opening, {
            range: rangeOf(start, end),
            name: name!,
            line,
          })
        },
      },
      // 7.x also says what is in no entry.
      { opening: `${opening}[gap 0x`, take: () => undefined },
      // A line that was cut, or of a kernel that words it differently. The
      // other words also begin lines about something else.
      {
        opening: opening === 'BIOS-e820: ' ? opening : `${opening}[mem `,
        take: () => this.#unread++,
      },
    ]
  }

  #entry(map: E820Map, which: string, { range, name, line }: ReadEntry): void {
    const type = e820TypeByName(name)
    if (type === undefined || !range || map.length >= LIMIT) {
      this.#unread++
      return
    }
    // No map has an entry twice: two consoles were written to one log.
    const key = `${which}${range.start} ${range.end} ${type}`
    if (this.#entries.has(key)) return
    this.#entries.add(key)
    map.push({ ...range, type, line })
  }

  #rangeOf(
    start: string | undefined,
    end: string | undefined,
    list: readonly unknown[],
  ): Range | undefined {
    const range = list.length < LIMIT ? rangeOf(start, end) : undefined
    if (!range) this.#unread++
    return range
  }
}

/** An entry of a map as it was printed. */
interface ReadEntry {
  readonly range: Range | undefined
  readonly name: string
  readonly line: number
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
