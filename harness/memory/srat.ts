import type { NodeRange, Range } from './range.ts'
import { MAX_NODES, MAX_NODE_BLOCKS } from './rules.ts'

/** A memory affinity entry of the SRAT that is enabled. */
export interface SratMemory extends Range {
  readonly domain: number
  /** The firmware says that it may be taken away. */
  readonly hotplug: boolean
}

/** An APIC affinity entry of the SRAT. */
export interface SratCpu {
  readonly cpu: number
  readonly domain: number
}

/** A system resource affinity table, as far as Linux reads it. */
export interface Srat {
  readonly cpus: readonly SratCpu[]
  readonly memory: readonly SratMemory[]
}

/** Memory affinity, with the kernel's node of its domain. */
export interface SratBlock extends NodeRange {
  readonly domain: number
}

/** What the kernel takes from a SRAT. */
export interface SratReading {
  /** Why it takes nothing; undefined when it does. */
  readonly rejected: string | undefined
  /** bad_srat() was called: nothing asks it for domains any more. */
  readonly disabled: boolean
  /** The kernel's node of each proximity domain. */
  readonly nodes: ReadonlyMap<number, number>
  /** Memory affinity with the kernel's nodes, as it announces it. */
  readonly blocks: readonly SratBlock[]
}

/** MAX_PXM_DOMAINS (include/acpi/acpi_numa.h). */
const MAX_DOMAINS = 256

/**
 * acpi_numa_init() (drivers/acpi/numa/srat.c): CPUs are read first, then
 * memory, and proximity domains become nodes in the order in which they are
 * met (acpi_map_pxm_to_node()).
 */
export const readSrat = ({ cpus, memory }: Srat): SratReading => {
  const nodes = new Map<number, number>()
  const blocks: SratBlock[] = []
  const reading = (rejected?: string, disabled = false): SratReading => ({
    rejected,
    disabled,
    nodes,
    blocks,
  })
  const nodeOf = (domain: number): number | undefined => {
    const known = nodes.get(domain)
    if (known !== undefined) return known
    if (domain >= MAX_DOMAINS || nodes.size >= MAX_NODES) return undefined
    nodes.set(domain, nodes.size)
    return nodes.size - 1
  }
  for (const { domain } of cpus)
    if (nodeOf(domain) === undefined) return reading(TOO_MANY_DOMAINS, true)
  for (const entry of memory) {
    const node = nodeOf(entry.domain)
    if (node === undefined) return reading(TOO_MANY_DOMAINS, true)
    if (blocks.length >= MAX_NODE_BLOCKS)
      return reading('too many memblk ranges', true)
    blocks.push({
      start: entry.start,
      end: entry.end,
      node,
      domain: entry.domain,
    })
  }
  return reading(blocks.length === 0 ? 'no memory in the SRAT' : undefined)
}

const TOO_MANY_DOMAINS = 'too many proximity domains'

/** acpi_table_srat, and the entries Linux reads (include/acpi/actbl3.h). */
const SIZES = { header: 48, cpu: 24, memory: 40 } as const
const ENABLED = 1
const HOT_PLUGGABLE = 2

/**
 * A SRAT of revision 3, whose domains have 32 bits, as a table of the firmware.
 * The checksum is left to whoever installs it.
 *
 * @param apicIds APIC ID of each CPU
 */
export const encodeSrat = (
  { cpus, memory }: Srat,
  apicIds: readonly number[],
): Uint8Array => {
  const length =
    SIZES.header + cpus.length * SIZES.cpu + memory.length * SIZES.memory
  const table = Buffer.alloc(length)
  table.write('SRAT', 0, 'latin1')
  table.writeUInt32LE(length, 4)
  table.writeUInt8(3, 8)
  table.write('TDXRIGTDXRIG  ', 10, 'latin1')
  table.writeUInt32LE(1, 24)
  table.write('RIG ', 28, 'latin1')
  table.writeUInt32LE(1, 32)
  table.writeUInt32LE(1, 36)
  let at: number = SIZES.header
  for (const { cpu, domain } of cpus) {
    // Type 2, x2APIC affinity: its domain and APIC ID have 32 bits.
    table.writeUInt8(2, at)
    table.writeUInt8(SIZES.cpu, at + 1)
    table.writeUInt32LE(domain, at + 4)
    table.writeUInt32LE(apicIds[cpu]!, at + 8)
    table.writeUInt32LE(ENABLED, at + 12)
    at += SIZES.cpu
  }
  for (const { start, end, domain, hotplug } of memory) {
    table.writeUInt8(1, at)
    table.writeUInt8(SIZES.memory, at + 1)
    table.writeUInt32LE(domain, at + 2)
    table.writeBigUInt64LE(BigInt(start), at + 8)
    table.writeBigUInt64LE(BigInt(end - start), at + 16)
    table.writeUInt32LE(ENABLED | (hotplug ? HOT_PLUGGABLE : 0), at + 28)
    at += SIZES.memory
  }
  return table
}

/** Types of entries that Linux reads (ACPI 6.5, 5.2.16). */
const TYPE = { cpu: 0, memory: 1, x2apic: 2 } as const

/**
 * A SRAT as the firmware has it: what is enabled, in its order
 * (acpi_parse_processor_affinity() and the like, drivers/acpi/numa/srat.c).
 *
 * @throws RangeError for what is no such table
 */
export const decodeSrat = (table: Uint8Array): Srat => {
  const data = Buffer.from(table)
  if (data.length < SIZES.header || data.toString('latin1', 0, 4) !== 'SRAT')
    throw new RangeError('it does not begin as a SRAT')
  const cpus: SratCpu[] = []
  const memory: SratMemory[] = []
  const wide = data.readUInt8(8) >= 2
  for (let at: number = SIZES.header; at < data.length;) {
    const length = data[at + 1] ?? 0
    if (length < 2 || at + length > data.length)
      throw new RangeError(`its entry at byte ${at} has ${length} bytes`)
    const entry = data.subarray(at, at + length)
    at += length
    if (entry[0] === TYPE.memory && length >= SIZES.memory) {
      const flags = entry.readUInt32LE(28)
      const start = Number(entry.readBigUInt64LE(8))
      const end = start + Number(entry.readBigUInt64LE(16))
      const domain = entry.readUInt32LE(2)
      if ((flags & ENABLED) !== 0 && end > start)
        memory.push({
          start,
          end,
          domain: wide ? domain : domain & 0xff,
          hotplug: (flags & HOT_PLUGGABLE) !== 0,
        })
    } else if (entry[0] === TYPE.cpu && length >= 16) {
      if ((entry.readUInt32LE(4) & ENABLED) === 0) continue
      const high = wide ? entry.readUIntLE(9, 3) << 8 : 0
      cpus.push({ cpu: cpus.length, domain: (high | entry[2]!) >>> 0 })
    } else if (
      entry[0] === TYPE.x2apic &&
      length >= SIZES.cpu &&
      (entry.readUInt32LE(12) & ENABLED) !== 0
    )
      cpus.push({ cpu: cpus.length, domain: entry.readUInt32LE(4) })
  }
  return { cpus, memory }
}
