import { AS_FOUND } from './as-found.ts'
import type { Board } from './board.ts'
import { Q35_BOARDS } from './q35.ts'

export type { Board, FoundMachine } from './board.ts'
export { foundBoard } from './as-found.ts'

/** Every board there is. Those of QEMU are ordered by its version. */
export const BOARDS: readonly Board[] = [...Q35_BOARDS, AS_FOUND]

/** Where no QEMU tells which board there is. */
export const DEFAULT_BOARD: Board = Q35_BOARDS[0]!

/** Undefined for an id no board has. */
export const boardNamed = (id: string): Board | undefined =>
  BOARDS.find(board => board.id === id)
