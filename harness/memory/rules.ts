import { MIB, PAGE_SIZE } from '../base/units.ts'
import { NO_NODE } from './range.ts'

/** CONFIG_NODES_SHIFT=6 of the shipped kernels: 1 << 6 nodes. */
export const MAX_NODES = 64

/** NR_NODE_MEMBLKS (include/linux/numa_memblks.h; asm/numa.h before 6.12). */
export const MAX_NODE_BLOCKS = 2 * MAX_NODES

/** What of memory set-up is not the same in all kernels. */
export interface MemoryRules {
  /** Bytes that may be without a node before the SRAT is thrown away. */
  readonly maxUncovered: number
  /** Node number of memory that no node claims. */
  readonly noNode: number
  /**
   * Where numa_cleanup_meminfo() cuts what the SRAT says: at the borders of
   * `memory`, or between 0 and the end of the map (`map`).
   */
  readonly sratCutAt: 'memory' | 'map'
  /** Whether ACPI tables count when the end of the map is looked for. */
  readonly acpiAtEndOfMap: boolean
  /** `numa=fake=` keeps numbers for real nodes (fix_pxm_node_maps()). */
  readonly keepsRealNodes: boolean
  /**
   * E820_TYPE_RESERVED_KERN (128) is memory, and setup data of the boot loader
   * becomes an entry of that type.
   */
  readonly hasReservedKern: boolean
  /** Entries of the firmware's map; with fewer the kernel does not use it. */
  readonly fewestEntries: 1 | 2
}

/** Rules by the first version that has them. */
export const MEMORY_RULES = {
  /**
   * numa_meminfo_cover_memory(), numa_init() and numa_cleanup_meminfo()
   * (arch/x86/mm/numa.c), e820_end_pfn() (arch/x86/kernel/e820.c).
   */
  '6.1': {
    maxUncovered: MIB - PAGE_SIZE,
    noNode: MAX_NODES,
    sratCutAt: 'map',
    acpiAtEndOfMap: false,
    keepsRealNodes: false,
    hasReservedKern: true,
    fewestEntries: 2,
  },
  /**
   * memblock_validate_numa_coverage() (mm/memblock.c), numa_memblks_init() and
   * numa_cleanup_meminfo() (mm/numa_memblks.c), e820__end_ram_pfn(),
   * fix_pxm_node_maps() (drivers/acpi/numa/srat.c); append_e820_table()
   * (arch/x86/kernel/e820.c) wants two entries.
   */
  '6.12': {
    maxUncovered: MIB,
    noNode: NO_NODE,
    sratCutAt: 'memory',
    acpiAtEndOfMap: true,
    keepsRealNodes: true,
    hasReservedKern: true,
    fewestEntries: 2,
  },
  /**
   * The same functions; type 128 is gone (arch/x86/include/asm/e820/types.h and
   * e820__memblock_setup(), arch/x86/kernel/e820.c), and append_e820_table()
   * there takes one entry.
   */
  '7.1': {
    maxUncovered: MIB,
    noNode: NO_NODE,
    sratCutAt: 'memory',
    acpiAtEndOfMap: true,
    keepsRealNodes: true,
    hasReservedKern: false,
    fewestEntries: 1,
  },
} as const satisfies Record<string, MemoryRules>
