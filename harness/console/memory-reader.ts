import { PHYSICAL_LIMIT } from '../base/units.ts'
import { type E820Entry, e820TypeByName } from '../memory/e820.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import type {
  Located,
  MemoryFacts,
  MemoryRemark,
  SratCpuFact,
  SratFact,
} from './facts.ts'
import { Openings, type Rule, takeBy } from './openings.ts'
import type { LogRecord } from './log-record.ts'
import { REMARKS } from './memory-remarks.ts'

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
  #modifiedMap: E820Map | null = null
  #mtrrLost: MemoryFacts['mtrrLostMib'] = null
  readonly #movable: MemoryFacts['movable'][number][] = []
  readonly #memoryless: MemoryFacts['memoryless'][number][] = []
  #numaFallback: string | null = null
  #presentKib: number | null = null
  readonly #remarks = new Map<MemoryRemark, MemoryFacts['remarks'][number]>()
  #isXen = false
  #mapBegan = false
  #mapEnded = false
  #nodesEnded = false
  #unread = 0
  /** Entries of all maps, to know them again. */
  readonly #entries = new Map<string, Set<string>>()

  /** @returns whether the line was about memory */
  read(record: LogRecord): boolean {
    if (takeBy(this.#rules, record)) return true
    this.pass()
    return false
  }

  /** A line was about something else. */
  pass(): void {
    this.#mapEnded ||= this.#firmwareMap.length > 0
    this.#nodesEnded ||= this.#nodeRanges.length > 0
  }

  /** How the lines begin that it reads. */
  get openings(): Openings<Rule> {
    return this.#rules
  }

  /** The map is that of a domain of Xen. */
  get isXen(): boolean {
    return this.#isXen
  }

  facts(): MemoryFacts {
    return {
      firmwareMap: this.#firmwareMap,
      extendedMap: this.#extendedMap,
      userMap: this.#userMap,
      modifiedMap: this.#modifiedMap,
      mtrrLostMib: this.#mtrrLost,
      movable: this.#movable,
      memoryless: this.#memoryless,
      srat: this.#srat,
      sratCpus: this.#sratCpus,
      nodeRanges: this.#nodeRanges,
      numaFallback: this.#numaFallback,
      presentKib: this.#presentKib,
      remarks: [...this.#remarks.values()],
      whole: {
        map: this.#mapBegan && this.#mapEnded,
        nodeRanges: this.#nodesEnded,
      },
      unread: this.#unread,
    }
  }

  readonly #rules = new Openings<Rule>([
    ...headline('BIOS-provided physical RAM map:', () => {
      this.#mapBegan = true
    }),
    ...this.#mapRules('BIOS-e820: ', () => this.#firmwareMap),
    // xen_memory_setup() (arch/x86/xen/setup.c): of a PV domain.
    ...this.#mapRules('Xen: ', () => {
      this.#isXen = true
      return this.#firmwareMap
    }),
    ...this.#mapRules('extended: ', () => (this.#extendedMap ??= [])),
    ...headline('user-defined physical RAM map:', () => {
      this.#userMap ??= []
      this.#mapEnded = true
    }),
    ...this.#mapRules('user: ', () => (this.#userMap ??= [])),
    // e820__update_table_print(): each time it is the whole map.
    ...headline('modified physical RAM map:', () => {
      this.#modifiedMap = []
      this.#entries.delete('modified: ')
      this.#mapEnded = true
    }),
    ...this.#mapRules('modified: ', () => (this.#modifiedMap ??= [])),
    {
      opening: 'WARNING: BIOS bug: CPU MTRRs don',
      pattern: /losing (\d{1,9})MB of RAM\.$/,
      take: ([, mib]: Groups, { line }: LogRecord) =>
        (this.#mtrrLost ??= { mib: Number(mib), line }),
    },
    {
      // free_area_init() (mm/mm_init.c).
      opening: 'Node ',
      pattern: /^Node (\d{1,4}): (0x[0-9a-f]{16})$/,
      take: ([, node, start]: Groups, { line }: LogRecord) => {
        if (this.#movable.length < LIMIT)
          this.#movable.push({
            node: Number(node),
            start: Number(start),
            line,
          })
      },
    },
    {
      opening: 'Initmem setup node ',
      pattern:
        /^Initmem setup node (\d{1,4}) (?:as memoryless|\[mem 0x0+-0x0+\])$/,
      take: ([, node]: Groups, { line }: LogRecord) => {
        if (this.#memoryless.length < LIMIT)
          this.#memoryless.push({ node: Number(node), line })
      },
    },
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
    {
      opening: 'Memory: ',
      pattern: /^Memory: \d{1,15}K\/(\d{1,15})K available \(/,
      copies: true,
      take: ([, kib]: Groups) => {
        this.#presentKib ??= Number(kib)
      },
    },
    ...REMARKS.map(({ kind, ...rule }) => ({
      ...rule,
      take: (_: Groups, { text, line }: LogRecord) => {
        if (!this.#remarks.has(kind))
          this.#remarks.set(kind, { kind, text, line })
      },
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
      // Before 3.5: the end is the first byte behind it.
      {
        opening,
        pattern: new RegExp(
          `^${opening}([0-9a-f]{16}) - ([0-9a-f]{16}) \\((.+)\\)$`,
        ),
        take: ([, start, end, name], { line }) => {
          this.#entry(map(), opening, {
            range: rangeOf(
              `0x${start!}`,
              `0x${(BigInt(`0x${end!}`) - 1n).toString(16)}`,
            ),
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
    const key = `${range.start} ${range.end} ${type}`
    const known = this.#entries.get(which) ?? new Set()
    if (known.has(key)) return
    this.#entries.set(which, known.add(key))
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

/** From 3.5 to 4.11 the file's name stands before it. */
const headline = (text: string, take: () => void): Rule[] =>
  ['', 'e820: '].map(prefix => ({ opening: `${prefix}${text}`, take }))

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
