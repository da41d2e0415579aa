import { PHYSICAL_LIMIT } from '../base/units.ts'
import type { Range } from './range.ts'

/** enum e820_type (arch/x86/include/asm/e820/types.h). */
export const E820 = {
  RAM: 1,
  RESERVED: 2,
  ACPI: 3,
  NVS: 4,
  UNUSABLE: 5,
  PMEM: 7,
  PRAM: 12,
  SOFT_RESERVED: 0xefffffff,
} as const

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
  [E820.SOFT_RESERVED, 'soft reserved'],
])

export const e820TypeName = (type: number): string =>
  NAMES.get(type) ?? `type ${type}`

/** The reverse of {@link e820TypeName}; undefined for words no kernel prints. */
export const e820TypeByName = (name: string): number | undefined => {
  for (const [type, known] of NAMES) if (known === name) return type
  const numbered = /^type (\d+)$/.exec(name)
  return numbered ? Number(numbered[1]) : undefined
}

/**
 * e820__range_remove() (arch/x86/kernel/e820.c): takes addresses out of the
 * table in place. Emptied entries stay until the table is sanitised, new tails
 * go to the end: the order matters to what is applied next.
 *
 * @param type only entries of this type; undefined for all
 */
export const rangeRemove = (
  table: readonly E820Entry[],
  range: Range,
  type?: number,
): E820Entry[] => {
  const entries = [...table]
  // The kernel's loop also visits the tails it appends on the way.
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i]!
    if (type !== undefined && entry.type !== type) continue
    const start = Math.max(range.start, entry.start)
    const end = Math.min(range.end, entry.end)
    if (start >= end) continue
    if (entry.start < start && end < entry.end)
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
  const changed = table.flatMap(entry => {
    const start = Math.max(range.start, entry.start)
    const end = Math.min(range.end, entry.end)
    return entry.type === from && start < end ? [{ start, end, type: to }] : []
  })
  return [...rangeRemove(table, range, from), ...changed]
}

/** One end of an entry, while the table is swept from low to high. */
interface ChangePoint {
  readonly address: number
  readonly opens: boolean
  readonly entry: E820Entry
}

const changePoints = (table: readonly E820Entry[]): ChangePoint[] =>
  table
    .filter(entry => entry.end > entry.start)
    .flatMap(entry => [
      { address: entry.start, opens: true, entry },
      { address: entry.end, opens: false, entry },
    ])
    .sort((a, b) => a.address - b.address || Number(b.opens) - Number(a.opens))

/** e820_nomerge(): neighbours of these types stay separate entries. */
const staysSeparate = (type: number): boolean =>
  type === E820.PRAM || type === E820.SOFT_RESERVED

/**
 * e820__update_table(): sorts, removes overlaps (the larger type number wins)
 * and joins neighbours of one type.
 *
 * @returns undefined where the kernel gives up: a table of fewer than two
 *   entries, which is a panic when it came from the command line
 */
export const sanitize = (
  table: readonly E820Entry[],
): E820Entry[] | undefined => {
  if (table.length < 2) return undefined
  const result: E820Entry[] = []
  const open = new Set<E820Entry>()
  let last = { type: 0, start: 0 }
  for (const point of changePoints(table)) {
    if (point.opens) open.add(point.entry)
    else open.delete(point.entry)
    let type = 0
    for (const entry of open) type = Math.max(type, entry.type)
    if (type === last.type && !staysSeparate(type)) continue
    if (last.type && point.address > last.start)
      result.push({ start: last.start, end: point.address, type: last.type })
    last = { type, start: point.address }
  }
  return result
}

/** The usable ranges, in table order. */
export const usable = (table: readonly E820Entry[]): Range[] =>
  table
    .filter(entry => entry.type === E820.RAM)
    .map(({ start, end }) => ({ start, end }))

/** Everything from `start` up: what `mem=` and a bare `memmap=nn` remove. */
export const from = (start: number): Range => ({ start, end: PHYSICAL_LIMIT })
