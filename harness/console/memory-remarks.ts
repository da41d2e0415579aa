import type { MemoryRemark } from './facts.ts'
import type { Opening } from './openings.ts'

const HEX_DIGITS = Array.from({ length: 16 }, (_, i) => i.toString(16))

/** Lines of 5.10 to 7.3, from the files and functions that stand beside them. */
export const REMARKS: readonly (Opening & {
  readonly kind: MemoryRemark
  readonly pattern?: RegExp
})[] = [
  {
    // efi_find_mirror() (drivers/firmware/efi/efi.c).
    kind: 'mirrored',
    opening: 'efi: Memory: ',
    pattern: /^efi: Memory: \d{1,12}M\/\d{1,12}M mirrored memory$/,
  },
  // find_zone_movable_pfns_for_nodes() (mm/mm_init.c).
  {
    kind: 'no-mirror',
    opening: 'The system has no mirror memory, ignore kernelcore=mirror.',
  },
  {
    kind: 'no-mirror',
    opening: 'The system is under kdump, ignore kernelcore=mirror.',
  },
  // emu_setup_memblk(), numa_emulation() (mm/ or arch/x86/mm/numa_emulation.c).
  {
    kind: 'node-faked',
    opening: 'Faking node ',
    pattern: /^Faking node \d{1,4} at \[mem /,
  },
  {
    kind: 'faking-failed',
    opening: 'numa_emulation: phys: ',
    pattern: /^numa_emulation: phys: .{1,60}, failing$/,
  },
  { kind: 'faking-failed', opening: 'Not enough memory for each node.' },
  {
    kind: 'faking-failed',
    opening: 'NUMA: ',
    pattern:
      /^NUMA: (?:Warning: .{1,80}, disabling emulation|Too many emulated memblks, failing emulation)$/,
  },
  // reserve_crashkernel_generic() (kernel/crash_reserve.c) or, before 6.8,
  // reserve_crashkernel() (arch/x86/kernel/setup.c).
  { kind: 'crash-reserved', opening: 'crashkernel reserved: ' },
  {
    kind: 'crash-reserved',
    opening: 'Reserving ',
    pattern: /^Reserving \d{1,9}MB of memory at \d{1,9}MB for crashkernel /,
  },
  {
    kind: 'crash-failed',
    opening: 'crashkernel',
    pattern:
      /^crashkernel(?:: .*expected|: unrecognized char|: invalid size|: end <= start|: crashkernel size resulted in zero| reservation failed| size resulted in zero)/i,
  },
  { kind: 'crash-failed', opening: 'cannot allocate crashkernel' },
  // mm/hugetlb.c.
  {
    kind: 'huge-none',
    opening: 'HugeTLB: allocating ',
    pattern: /Only allocated 0 hugepages\.$/,
  },
  {
    kind: 'huge-failed',
    opening: 'HugeTLB: allocating ',
    pattern: /^HugeTLB: allocating \d{1,12} of page size .{1,40} failed/,
  },
  {
    kind: 'huge-ignored',
    opening: 'HugeTLB: ',
    pattern: /^HugeTLB: (?:unsupported |.{1,80} ignoring\b)/,
  },
  {
    kind: 'huge-reserved',
    opening: 'HugeTLB: registered ',
    pattern: /pre-allocated [1-9]\d{0,11} pages$/,
  },
  { kind: 'cma-failed', opening: 'cma: Failed to reserve ' },
  // early_memtest() (mm/memtest.c).
  ...HEX_DIGITS.map(opening => ({
    kind: 'bad-memory' as const,
    opening,
    begins: /[0-9a-f]{16} bad/,
    pattern: /^[0-9a-f]{16} bad mem addr .{1,80} reserved$/,
  })),
]
