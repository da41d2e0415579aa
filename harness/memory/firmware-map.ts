import { GIB, KIB, MIB, PAGE_SIZE, alignUp } from '../base/units.ts'
import { E820, type E820Entry, ZEROPAGE_ENTRIES, usable } from './e820.ts'
import { type Range, intersect, subtract } from './range.ts'
import type { Srat, SratMemory } from './srat.ts'

/** What of a machine decides where its RAM lies. */
export interface MachineMemory {
  /** Total RAM, in bytes. */
  readonly size: number
  /** RAM of each NUMA node in order; empty for a machine without SRAT. */
  readonly nodes: readonly number[]
  /** Sizes of the DIMMs that can be plugged while it runs. */
  readonly dimms: readonly number[]
}

/** The legacy hole between conventional memory and 1 MiB. */
const LEGACY_HOLE: Range = { start: 640 * KIB, end: MIB }
const ABOVE_4G = 4 * GIB

/**
 * RAM below 4 GiB on q35: from 2.75 GiB on the split moves to 2 GiB, so that
 * both parts stay GiB-aligned (pc_q35_init(), hw/i386/pc_q35.c).
 */
export const below4g = (size: number): number =>
  size >= 0xb0000000 ? 2 * GIB : size

/** Where RAM is, whatever the firmware says about it. */
export const ramRanges = ({ size }: MachineMemory): Range[] => {
  const low = below4g(size)
  const ranges = [{ start: 0, end: low }]
  if (size > low) ranges.push({ start: ABOVE_4G, end: ABOVE_4G + size - low })
  return ranges
}

/**
 * Where DIMMs can be plugged: room for each, with 1 GiB to align it
 * (pc_get_device_memory_range(), hw/i386/pc.c).
 */
export const deviceMemory = (memory: MachineMemory): Range | undefined => {
  if (memory.dimms.length === 0) return undefined
  const above = ramRanges(memory)[1]?.end ?? ABOVE_4G
  const start = alignUp(above, GIB)
  const size = memory.dimms.reduce((sum, dimm) => sum + dimm + GIB, 0)
  return { start, end: start + size }
}

/** Where the rig plugs each DIMM: one after the other, each on whole GiB. */
export const dimmRanges = (memory: MachineMemory): Range[] => {
  let next = deviceMemory(memory)?.start ?? 0
  return memory.dimms.map(size => {
    const range = { start: next, end: next + size }
    next = alignUp(range.end, GIB)
    return range
  })
}

/** QEMU pads its ACPI tables to this (ACPI_BUILD_TABLE_SIZE, acpi-build.c). */
const ACPI_TABLES = 128 * KIB

/** Above this SMBIOS tables go to high memory (BUILD_MAX_SMBIOS_FSEG, config.h). */
const SMBIOS_FSEG_MAX = 600

/**
 * Bytes of the SMBIOS tables of machine type pc-q35-7.2
 * (hw/smbios/smbios.c, smbios_get_tables()), with the type 0 that SeaBIOS
 * 1.16 adds (src/fw/smbios.c). Lengths include the strings.
 */
const smbiosSize = (memory: MachineMemory, packages: number): number => {
  const fixed = 67 + 75 + 39 + 25 + 13 + 6 // types 0, 1, 3, 16, 32, 127
  const dimms = Math.ceil(memory.size / (16 * GIB))
  return fixed + 65 * packages + 53 * dimms + 33 * ramRanges(memory).length
}

/**
 * What SeaBIOS keeps at the top of low RAM: the ACPI tables, and the SMBIOS
 * tables when they are large. The rest of its high zone it gives back
 * (malloc_prepboot(), src/malloc.c).
 */
const reservedTail = (memory: MachineMemory, packages: number): number => {
  const smbios = smbiosSize(memory, packages)
  return (
    ACPI_TABLES + (smbios > SMBIOS_FSEG_MAX ? alignUp(smbios, PAGE_SIZE) : 0)
  )
}

/**
 * Low memory no kernel uses: setup_arch() keeps the first 64 KiB to itself
 * (arch/x86/kernel/setup.c, early_reserve_memory()).
 */
const LOW_SETUP_DATA = 0x8000
/** struct setup_data before its payload: u64 next, u32 type, u32 len. */
export const SETUP_HEADER = 16
/** struct boot_e820_entry: u64 addr, u64 size, u32 type. */
export const BOOT_ENTRY = 20

/**
 * Where the rig hands over what does not fit into struct boot_params: in RAM
 * the map does not call usable, when there is some, because within usable
 * memory it becomes an entry of its own (e820__reserve_setup_data()).
 */
export const setupData = (
  e820: readonly E820Entry[],
  memory: MachineMemory,
  packages: number,
): Range | undefined => {
  const beyond = e820.length - ZEROPAGE_ENTRIES
  if (beyond <= 0) return undefined
  const size = SETUP_HEADER + BOOT_ENTRY * beyond
  const used = [
    ...usable(e820),
    { start: 0, end: LEGACY_HOLE.end },
    firmwareTables(memory, packages),
  ]
  const free = ramRanges(memory)
    .flatMap(range => subtract(range, used))
    .map(range => ({ ...range, start: alignUp(range.start, PAGE_SIZE) }))
    .find(range => range.end - range.start >= size)
  const start = free?.start ?? LOW_SETUP_DATA
  return { start, end: start + size }
}

/** Where the firmware's tables are in RAM. */
export const firmwareTables = (
  memory: MachineMemory,
  packages: number,
): Range => {
  const end = below4g(memory.size)
  return { start: end - reservedTail(memory, packages), end }
}

/**
 * The e820 map SeaBIOS 1.16 builds on q35, as a kernel started through PVH
 * sees it: init_pvh_bootparams() adds the ISA hole
 * (arch/x86/platform/pvh/enlighten.c).
 */
export const q35FirmwareMap = (
  memory: MachineMemory,
  packages: number,
): E820Entry[] => {
  const { start: tail, end: low } = firmwareTables(memory, packages)
  const map: E820Entry[] = [
    { start: 0, end: 0x9fc00, type: E820.RAM },
    { start: 0x9fc00, end: MIB, type: E820.RESERVED },
    { start: MIB, end: tail, type: E820.RAM },
    { start: tail, end: low, type: E820.RESERVED },
    // MMCONFIG, the chipset's root complex block, the BIOS image.
    { start: 0xb0000000, end: 0xc0000000, type: E820.RESERVED },
    { start: 0xfed1c000, end: 0xfed20000, type: E820.RESERVED },
    { start: 0xfffc0000, end: 0x100000000, type: E820.RESERVED },
  ]
  const high = ramRanges(memory)[1]
  if (high) map.push({ ...high, type: E820.RAM })
  return map
}

/**
 * The SRAT QEMU writes: CPUs in order, then nodes one after the other, cut at
 * 640 KiB and at the hole below 4 GiB; the room for DIMMs counts to the last
 * one (build_srat(), hw/i386/acpi-build.c).
 *
 * @param nodeCpus CPUs of each node, by node
 */
export const q35Srat = (
  memory: MachineMemory,
  nodeCpus: readonly (readonly number[])[],
): Srat | undefined => {
  if (memory.nodes.length === 0) return undefined
  const entries: SratMemory[] = []
  let offset = 0
  memory.nodes.forEach((size, domain) => {
    const share = { start: offset, end: offset + size }
    offset = share.end
    for (const piece of guestPieces(share, below4g(memory.size)))
      entries.push({ ...piece, domain, hotplug: false })
  })
  const room = deviceMemory(memory)
  const last = memory.nodes.length - 1
  if (room) entries.push({ ...room, domain: last, hotplug: true })
  const cpus = nodeCpus
    .flatMap((list, domain) => list.map(cpu => ({ cpu, domain })))
    .sort((a, b) => a.cpu - b.cpu)
  return { cpus, memory: entries }
}

/** Where a span of RAM offsets appears in guest-physical memory. */
const guestPieces = (span: Range, low: number): Range[] => {
  const conventional = intersect(span, { start: 0, end: LEGACY_HOLE.start })
  const extended = intersect(span, { start: LEGACY_HOLE.end, end: low })
  const high = intersect(span, { start: low, end: Infinity })
  const shift = ABOVE_4G - low
  return [
    conventional,
    extended,
    high && { start: high.start + shift, end: high.end + shift },
  ].filter(piece => piece !== undefined)
}
