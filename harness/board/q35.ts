import { GIB, KIB, MIB, PAGE_SIZE, TIB, alignUp } from '../base/units.ts'
import { E820, type E820Entry, sanitize, usable } from '../memory/e820.ts'
import { MINIMUM_MEMORY } from '../memory/minimum.ts'
import { type Range, intersect } from '../memory/range.ts'
import type { Srat, SratMemory } from '../memory/srat.ts'
import type { Board, BoardMachine, BoardModel, MachineMemory } from './board.ts'

/** The legacy hole between conventional memory and 1 MiB. */
const LEGACY_HOLE: Range = { start: 640 * KIB, end: MIB }
const ABOVE_4G = 4 * GIB

/**
 * RAM below 4 GiB on q35: from 2.75 GiB on the split moves to 2 GiB, so that
 * both parts stay GiB-aligned (pc_q35_init(), hw/i386/pc_q35.c).
 */
const below4g = (size: number): number => (size >= 0xb0000000 ? 2 * GIB : size)

/** Where RAM is, whatever the firmware says about it. */
const ramRanges = ({ size }: MachineMemory): Range[] => {
  const low = below4g(size)
  const ranges = [{ start: 0, end: low }]
  if (size > low) ranges.push({ start: ABOVE_4G, end: ABOVE_4G + size - low })
  return ranges
}

/**
 * Where DIMMs can be plugged: room for each, with 1 GiB to align it
 * (pc_get_device_memory_range(), hw/i386/pc.c).
 */
const deviceMemory = (memory: MachineMemory): Range | undefined => {
  if (memory.dimms.length === 0) return undefined
  const above = ramRanges(memory)[1]?.end ?? ABOVE_4G
  const start = alignUp(above, GIB)
  const size = memory.dimms.reduce((sum, dimm) => sum + dimm + GIB, 0)
  return { start, end: start + size }
}

/** Where the rig plugs each DIMM: one after the other, each on whole GiB. */
const dimmRanges = (memory: MachineMemory): Range[] => {
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

/** What is not the same in all machine types of QEMU. */
interface Variant {
  /**
   * The largest memory device of SMBIOS tables, in bytes
   * (smbios_memory_device_size, hw/i386/pc_q35.c): larger memory has several,
   * and each takes room in the tables.
   */
  readonly memoryDevice: number
}

/**
 * Bytes of the SMBIOS tables (hw/smbios/smbios.c, smbios_get_tables()), with
 * the type 0 that SeaBIOS adds (src/fw/smbios.c). Lengths include the strings.
 */
const smbiosSize = (
  { memory, packages }: BoardMachine,
  { memoryDevice }: Variant,
): number => {
  const fixed = 67 + 75 + 39 + 25 + 13 + 6 // types 0, 1, 3, 16, 32, 127
  const devices = Math.ceil(memory.size / memoryDevice)
  return fixed + 65 * packages + 53 * devices + 33 * ramRanges(memory).length
}

/**
 * What SeaBIOS keeps at the top of low RAM: the ACPI tables, and the SMBIOS
 * tables when they are large. The rest of its high zone it gives back
 * (malloc_prepboot(), src/malloc.c).
 */
const firmwareTables = (machine: BoardMachine, variant: Variant): Range => {
  const end = below4g(machine.memory.size)
  const smbios = smbiosSize(machine, variant)
  const high = smbios > SMBIOS_FSEG_MAX ? alignUp(smbios, PAGE_SIZE) : 0
  return { start: end - ACPI_TABLES - high, end }
}

/**
 * The e820 map SeaBIOS builds on q35, as a kernel started through PVH sees it:
 * init_pvh_bootparams() adds the ISA hole (arch/x86/platform/pvh/enlighten.c).
 */
const firmwareMap = (machine: BoardMachine, variant: Variant): E820Entry[] => {
  const { start: tail, end: low } = firmwareTables(machine, variant)
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
  const high = ramRanges(machine.memory)[1]
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
const srat = (
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

/** Room for the firmware's own tables above the last usable range. */
const TABLES = 256 * KIB

const memoryFor = (e820: readonly E820Entry[]): number => {
  const ram = usable(sanitize(e820) ?? e820)
  const endIn = (start: number, end: number): number =>
    Math.max(0, ...ram.map(range => intersect(range, { start, end })?.end ?? 0))
  const high = endIn(ABOVE_4G, Infinity)
  return high > 0
    ? alignUp(2 * GIB + high - ABOVE_4G, MIB)
    : Math.max(
        MINIMUM_MEMORY.machine,
        alignUp(endIn(0, ABOVE_4G) + TABLES, MIB),
      )
}

const modelWith = (variant: Variant): BoardModel => ({
  ramRanges,
  firmwareTables: machine => firmwareTables(machine, variant),
  firmwareMap: machine => firmwareMap(machine, variant),
  srat,
  dimmRoom: deviceMemory,
  dimmRanges,
  memoryFor,
})

/** One memory device for each 16 GiB, until pc-q35-9.0. */
const SMALL_DEVICES = modelWith({ memoryDevice: 16 * GIB })
/** 2047 TiB since pc-q35-9.1: one device for all memory there can be. */
const ONE_DEVICE = modelWith({ memoryDevice: 2047 * TIB })

/** Its disk controller and SMBus only cost boot time. */
const LEAN = ',sata=off,smbus=off'

/** QEMU's q35 with SeaBIOS, by the version of QEMU it was tried with. */
export const Q35_BOARDS: readonly Board[] = [
  {
    id: 'q35-7.2',
    title: 'q35 of QEMU 7.2 with SeaBIOS',
    qemu: { version: [7, 2], machineType: 'pc-q35-7.2', options: LEAN },
    model: SMALL_DEVICES,
  },
  {
    id: 'q35-10.0',
    title: 'q35 of QEMU 10.0 with SeaBIOS',
    qemu: { version: [10, 0], machineType: 'pc-q35-10.0', options: LEAN },
    model: ONE_DEVICE,
  },
  {
    id: 'q35-11.1',
    title: 'q35 of QEMU 11.1 with SeaBIOS',
    qemu: { version: [11, 1], machineType: 'pc-q35-11.1', options: LEAN },
    model: ONE_DEVICE,
  },
]
