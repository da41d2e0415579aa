import { InfraError } from '../base/errors.ts'
import { type Board, DEFAULT_BOARD } from '../board/index.ts'
import { findQemu } from '../machine/qemu/probe.ts'

/** There is no QEMU, or none that could boot: nothing boots here. */
const UNUSABLE: ReadonlySet<string> = new Set([
  'NO_QEMU',
  'OLD_QEMU',
  'QEMU_BOARD',
])

/**
 * The board of commands that boot nothing: that of the QEMU that is installed,
 * so that they say what a boot here would show.
 */
export const boardHere = async (): Promise<Board> => {
  try {
    return (await findQemu()).board
  } catch (error) {
    if (error instanceof InfraError && UNUSABLE.has(error.code))
      return DEFAULT_BOARD
    throw error
  }
}
