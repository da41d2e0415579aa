import { MIB, PAGE_SIZE, alignUp } from '../base/units.ts'
import { type E820Entry, ZEROPAGE_ENTRIES, usable } from '../memory/e820.ts'
import { type Range, subtract } from '../memory/range.ts'
import type { BoardMachine, BoardModel } from './board.ts'

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
 *
 * @returns undefined when everything fits
 */
export const setupData = (
  e820: readonly E820Entry[],
  machine: BoardMachine,
  model: BoardModel,
): Range | undefined => {
  const beyond = e820.length - ZEROPAGE_ENTRIES
  if (beyond <= 0) return undefined
  const size = SETUP_HEADER + BOOT_ENTRY * beyond
  const used = [
    ...usable(e820),
    { start: 0, end: MIB },
    model.firmwareTables(machine),
  ]
  const free = model
    .ramRanges(machine.memory)
    .flatMap(range => subtract(range, used))
    .map(range => ({ ...range, start: alignUp(range.start, PAGE_SIZE) }))
    .find(range => range.end - range.start >= size)
  const start = free?.start ?? LOW_SETUP_DATA
  return { start, end: start + size }
}
