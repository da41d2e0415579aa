import type { Board } from './board.ts'

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
