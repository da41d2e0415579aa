import { usable } from '../memory/e820.ts'
import { totalSize } from '../memory/range.ts'
import type { Board, FoundMachine } from './board.ts'

/**
 * A physical host: its memory and its firmware's map are what the machine has,
 * and are read from it.
 */
export const AS_FOUND: Board = {
  id: 'as-found',
  title: 'a host as it is',
  qemu: undefined,
  model: undefined,
}

/** The board that a machine is: its own map and its own table. */
export const foundBoard = (found: FoundMachine): Board => ({
  ...AS_FOUND,
  found,
  model: {
    ramRanges: () => [...usable(found.e820)],
    // In the map already.
    firmwareTables: () => ({ start: 0, end: 0 }),
    firmwareMap: () => [...found.e820],
    srat: () => found.srat,
    dimmRoom: () => undefined,
    dimmRanges: () => [],
    memoryFor: e820 => totalSize(usable(e820)),
  },
})
