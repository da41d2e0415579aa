import { GIB, KIB, MIB } from '../base/units.ts'
import { E820, type E820Entry } from './e820.ts'
import { type NodeRange, type Range, intersect } from './range.ts'

/** What of a machine decides where its RAM lies. */
export interface MachineMemory {
  /** Total RAM, in bytes. */
  readonly size: number
  /** RAM of each NUMA node in order; empty for a machine without SRAT. */
  readonly nodes: readonly number[]
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
 * What SeaBIOS keeps at the top of low RAM: QEMU's ACPI blob, which is padded
 * to 128 KiB (ACPI_BUILD_TABLE_SIZE, hw/i386/acpi-build.c). SeaBIOS gives the
 * rest of its high zone back (malloc_prepboot(), src/malloc.c).
 */
const ACPI_TAIL = 128 * KIB

/**
 * The e820 map SeaBIOS 1.16 builds on q35, as a kernel started through PVH
 * sees it: init_pvh_bootparams() adds the ISA hole
 * (arch/x86/platform/pvh/enlighten.c).
 */
export const q35FirmwareMap = (memory: MachineMemory): E820Entry[] => {
  const low = below4g(memory.size)
  const map: E820Entry[] = [
    { start: 0, end: 0x9fc00, type: E820.RAM },
    { start: 0x9fc00, end: MIB, type: E820.RESERVED },
    { start: MIB, end: low - ACPI_TAIL, type: E820.RAM },
    { start: low - ACPI_TAIL, end: low, type: E820.RESERVED },
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
 * The SRAT memory entries QEMU writes: nodes are laid out one after the other,
 * cut at 640 KiB and at the hole below 4 GiB (build_srat(),
 * hw/i386/acpi-build.c).
 */
export const q35Srat = (memory: MachineMemory): NodeRange[] => {
  const entries: NodeRange[] = []
  let offset = 0
  memory.nodes.forEach((size, node) => {
    const share = { start: offset, end: offset + size }
    offset = share.end
    for (const piece of guestPieces(share, below4g(memory.size)))
      entries.push({ ...piece, node })
  })
  return entries
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
