import { PHYSICAL_LIMIT } from '../base/units.ts'
import { type Range, formatRange, overlaps } from './range.ts'
import { MAX_NODES } from './rules.ts'

/** enum e820_type (arch/x86/include/asm/e820/types.h). */
export const E820 = {
  RAM: 1,
  RESERVED: 2,
  ACPI: 3,
  NVS: 4,
  UNUSABLE: 5,
  PMEM: 7,
  PRAM: 12,
  /** RAM with setup data of the boot loader; printed and used like RAM. */
  RESERVED_KERN: 128,
  SOFT_RESERVED: 0xefffffff,
} as const

/** E820_MAX_ENTRIES_ZEROPAGE: what struct boot_params has room for. */
export const ZEROPAGE_ENTRIES = 128

/** E820_MAX_ENTRIES (arch/x86/include/asm/e820/types.h). */
export const MAX_ENTRIES = ZEROPAGE_ENTRIES + 3 * MAX_NODES

/** One e820 entry; `type` is any 32-bit number, firmware invents them. */
export interface E820Entry extends Range {
  readonly type: number
}

/** The words of e820_print_type() (arch/x86/kernel/e820.c). */
const NAMES: ReadonlyMap<number, string> = new Map([
  [E820.RAM, 'usable'],
  [E820.RESERVED, 'reserved'],
  [E820.ACPI, 'ACPI data'],
  [E820.NVS, 'ACPI NVS'],
  [E820.UNUSABLE, 'unusable'],
  [E820.PMEM, 'persistent (type 7)'],
  [E820.PRAM, 'persistent (type 12)'],
  [E820.RESERVED_KERN, 'usable'],
  [E820.SOFT_RESERVED, 'soft reserved'],
])

/**
 * Names of types in /sys/firmware/memmap and /proc/iomem
 * (e820_type_to_string()), which are not those of a kernel's log.
 */
export const FIRMWARE_NAMES: Readonly<Partial<Record<string, number>>> = {
  'System RAM': E820.RAM,
  Reserved: E820.RESERVED,
  'ACPI Tables': E820.ACPI,
  'ACPI Non-volatile Storage': E820.NVS,
  'Unusable memory': E820.UNUSABLE,
  'Persistent Memory': E820.PMEM,
  'Persistent Memory (legacy)': E820.PRAM,
  'Soft Reserved': E820.SOFT_RESERVED,
}

/** The names of types, as the kernel prints them. */
export const E820_TYPE_NAMES: readonly string[] = [...new Set(NAMES.values())]

export const e820TypeName = (type: number): string =>
  NAMES.get(type) ?? `type ${type}`

/** What kernels of 7.x say instead. */
const NEWER_NAMES: ReadonlyMap<string, number> = new Map([
  ['System RAM', E820.RAM],
  ['device reserved', E820.RESERVED],
  ['persistent RAM (type 7)', E820.PMEM],
  ['persistent RAM (type 12)', E820.PRAM],
])

/** The reverse of {@link e820TypeName}; undefined for words no kernel prints. */
export const e820TypeByName = (name: string): number | undefined => {
  for (const [type, known] of NAMES) if (known === name) return type
  const newer = NEWER_NAMES.get(name)
  if (newer !== undefined) return newer
  const numbered = /^type (\d{1,10})$/.exec(name)
  const type = Number(numbered?.[1])
  return type <= 0xffffffff ? type : undefined
}

/** Appends entries; what does not fit is ignored (__e820__range_add()). */
export const rangeAdd = (
  table: readonly E820Entry[],
  entries: readonly E820Entry[],
): readonly E820Entry[] => atMost(table.concat(entries), MAX_ENTRIES)

/** A table that has no more is not copied. */
export const atMost = (
  table: readonly E820Entry[],
  entries: number,
): readonly E820Entry[] =>
  table.length > entries ? table.slice(0, entries) : table

/**
 * e820__range_remove() (arch/x86/kernel/e820.c): takes addresses out of the
 * table. Emptied entries stay until the table is sanitised, new tails go to
 * the end: the order matters to what is applied next.
 *
 * @param type only entries of this type; undefined for all
 * @returns the table itself where nothing of it is in the range
 */
export const rangeRemove = (
  table: readonly E820Entry[],
  range: Range,
  type?: number,
): readonly E820Entry[] => {
  if (!table.some(entry => overlaps(entry, range))) return table
  const entries = [...table]
  // The kernel's loop also visits the tails it appends on the way.
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (type !== undefined && entry.type !== type) continue
    const start = Math.max(range.start, entry.start)
    const end = Math.min(range.end, entry.end)
    if (start >= end) continue
    if (entry.start < start && end < entry.end && entries.length < MAX_ENTRIES)
      entries.push({ ...entry, start: end })
    entries[i] =
      entry.start < start
        ? { ...entry, end: start }
        : { ...entry, start: end, end: Math.max(end, entry.end) }
  }
  return entries
}

/** e820__range_update(): gives addresses of one type another type. */
export const rangeUpdate = (
  table: readonly E820Entry[],
  range: Range,
  from: number,
  to: number,
): E820Entry[] => {
  const entries = [...table]
  const add = (entry: E820Entry): void => {
    if (entries.length < MAX_ENTRIES) entries.push(entry)
  }
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    const start = Math.max(range.start, entry.start)
    const end = Math.min(range.end, entry.end)
    if (entry.type !== from || start >= end) continue
    if (start === entry.start && end === entry.end) {
      entries[i] = { start, end, type: to }
      continue
    }
    add({ start, end, type: to })
    if (entry.start < start && end < entry.end) add({ ...entry, start: end })
    entries[i] =
      entry.start < start ? { ...entry, end: start } : { ...entry, start: end }
  }
  return entries
}

/** e820_nomerge(): neighbours of these types stay separate entries. */
const staysSeparate = (type: number): boolean =>
  type === E820.PRAM || type === E820.SOFT_RESERVED

/** Nothing is left to do: ascending, apart, or of other types. */
const isSanitized = (table: readonly E820Entry[]): boolean => {
  let end = 0
  let type = 0
  for (const entry of table) {
    if (entry.start >= entry.end || entry.start < end || entry.type === 0)
      return false
    if (entry.start === end && entry.type === type) return false
    end = entry.end
    type = entry.type
  }
  return table.length <= MAX_ENTRIES
}

/**
 * The entries that are not empty, by where they start. A map hardly ever is out
 * of order, but for what `memmap=` has put at its end.
 */
const sorted = (table: readonly E820Entry[]): E820Entry[] => {
  const entries: E820Entry[] = []
  for (const entry of table) {
    if (entry.start >= entry.end) continue
    let at = entries.length
    for (; at > 0 && entries[at - 1]!.start > entry.start; at--)
      entries[at] = entries[at - 1]!
    entries[at] = entry
  }
  return entries
}

/** A table under construction: what lies on top, from low to high addresses. */
class Sweep {
  readonly result: E820Entry[] = []
  /** Entries at the address that was reached; more than two are rare. */
  readonly #open: E820Entry[] = []
  #type = 0
  #start = 0

  opens(entry: E820Entry): void {
    this.#open.push(entry)
    this.#reach(entry.start)
  }

  /** Entries that end below an address come to their ends. */
  closeBelow(address: number): void {
    for (;;) {
      let first = -1
      let end = address
      for (let i = 0; i < this.#open.length; i++) {
        if (this.#open[i]!.end >= end) continue
        first = i
        end = this.#open[i]!.end
      }
      if (first < 0) return
      // The last one takes its place: their order does not matter.
      const last = this.#open.pop()!
      if (first < this.#open.length) this.#open[first] = last
      this.#reach(end)
    }
  }

  #reach(address: number): void {
    let type = 0
    for (const entry of this.#open) type = Math.max(type, entry.type)
    if (type === this.#type && !staysSeparate(type)) return
    if (this.#type && address > this.#start)
      this.result.push({ start: this.#start, end: address, type: this.#type })
    this.#type = type
    this.#start = address
  }
}

/**
 * e820__update_table(): sorts, removes overlaps (the larger type number wins)
 * and joins neighbours of one type.
 *
 * @returns undefined where the kernel gives up: a table of fewer than two
 *   entries, which is a panic when it came from the command line; the table
 *   itself where nothing is to be done
 */
export const sanitize = (
  table: readonly E820Entry[],
): readonly E820Entry[] | undefined => {
  if (table.length < 2) return undefined
  if (isSanitized(table)) return table
  const entries = sorted(table)
  const result: E820Entry[] = []
  for (let first = 0; first < entries.length;) {
    const behind = behindOverlaps(entries, first)
    if (behind === first + 1) put(result, entries[first]!)
    else for (const entry of swept(entries, first, behind)) put(result, entry)
    first = behind
  }
  return atMost(result, MAX_ENTRIES)
}

/** The first entry that starts where all before it have ended. */
const behindOverlaps = (
  entries: readonly E820Entry[],
  first: number,
): number => {
  let { end } = entries[first]!
  let at = first + 1
  for (; at < entries.length && entries[at]!.start < end; at++)
    end = Math.max(end, entries[at]!.end)
  return at
}

/** Appends what lies behind all that is there. */
const put = (result: E820Entry[], entry: E820Entry): void => {
  const { start, end, type } = entry
  if (type === 0) return
  const last = result.at(-1)
  if (last?.end === start && last.type === type && !staysSeparate(type))
    result[result.length - 1] = { start: last.start, end, type }
  else result.push(entry)
}

/** What lies on top of entries that overlap. */
const swept = (
  entries: readonly E820Entry[],
  first: number,
  behind: number,
): readonly E820Entry[] => {
  const sweep = new Sweep()
  // At one address starts come before ends.
  for (let at = first; at < behind; at++) {
    sweep.closeBelow(entries[at]!.start)
    sweep.opens(entries[at]!)
  }
  sweep.closeBelow(Infinity)
  return sweep.result
}

/** What memblock takes for memory (e820__memblock_setup()). */
export const isUsable = ({ type }: E820Entry): boolean =>
  type === E820.RAM || type === E820.RESERVED_KERN

/** The usable ranges, in table order. */
export const usable = (table: readonly E820Entry[]): readonly Range[] =>
  table.filter(isUsable)

/** Everything from `start` up: what `mem=` and a bare `memmap=nn` remove. */
export const from = (start: number): Range => ({ start, end: PHYSICAL_LIMIT })

/**
 * A table with usable entries that touch as one. Where setup data lies, which
 * E820_TYPE_RESERVED_KERN marks and which is printed as usable too, is up to the
 * boot loader, and UEFI always has some.
 */
export const joinUsable = (table: readonly E820Entry[]): E820Entry[] => {
  const joined: E820Entry[] = []
  for (const entry of table) {
    const last = joined.at(-1)
    if (last?.end === entry.start && isUsable(last) && isUsable(entry))
      joined[joined.length - 1] = { ...last, end: entry.end }
    else joined.push(entry)
  }
  return joined
}

/** `[0x100000, 0x80000000) usable`. */
export const formatEntry = (entry: E820Entry): string =>
  `${formatRange(entry)} ${e820TypeName(entry.type)}`
