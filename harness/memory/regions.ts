import { MIB } from '../base/units.ts'
import { wholePages } from './memblock.ts'
import type { NodeRange } from './range.ts'

/**
 * The list of TDX memory regions the kernel builds: one per memblock range,
 * partial pages left out, the first 1 MiB cut off
 * (build_tdx_memlist(), arch/x86/virt/vmx/tdx/tdx.c; __next_mem_pfn_range(),
 * mm/memblock.c, rounds inwards).
 *
 * @param memblock memblock.memory split by node, ascending
 */
export const tdxMemoryRegions = (
  memblock: readonly NodeRange[],
): NodeRange[] => {
  const regions: NodeRange[] = []
  for (const range of wholePages(memblock)) {
    if (range.end <= MIB) continue
    regions.push(range.start >= MIB ? range : { ...range, start: MIB })
  }
  return regions
}
