import { BOARDS } from './index.ts'
import type { Board } from './board.ts'

type QemuBoard = Board & { readonly qemu: NonNullable<Board['qemu']> }

const QEMU_BOARDS = BOARDS.filter(
  (board): board is QemuBoard => board.qemu !== undefined,
)

/** The board that a QEMU builds. */
export interface ChosenBoard {
  readonly board: Board
  /** Why it may not be as the model has it; undefined: it was tried. */
  readonly doubt: string | undefined
}

const compare = (
  [major, minor]: readonly [number, number],
  [otherMajor, otherMinor]: readonly [number, number],
): number => major - otherMajor || minor - otherMinor

/** `7.2, 10.0, 11.1`: the versions of QEMU that were tried. */
export const TRIED_VERSIONS = QEMU_BOARDS.map(({ qemu }) =>
  qemu.version.join('.'),
).join(', ')

/**
 * The board for a version of QEMU: its own, or that of the nearest older
 * version. Where QEMU has dropped that machine type, the next one it has is
 * taken; where it has none of them, it is told so.
 *
 * @param version major and minor
 * @param machineTypes what `-machine help` lists
 * @returns undefined when QEMU has no machine type of any board
 */
export const boardOfQemu = (
  version: readonly [number, number],
  machineTypes: ReadonlySet<string>,
): ChosenBoard | undefined => {
  const exact = QEMU_BOARDS.find(
    ({ qemu }) => compare(qemu.version, version) === 0,
  )
  const has = ({ qemu }: QemuBoard): boolean =>
    machineTypes.has(qemu.machineType)
  if (exact && has(exact)) return { board: exact, doubt: undefined }
  const older = QEMU_BOARDS.filter(
    board => compare(board.qemu.version, version) <= 0,
  )
  const board = older.findLast(has) ?? QEMU_BOARDS.find(has)
  return (
    board && {
      board,
      doubt: `QEMU ${version.join('.')} was not tried (${TRIED_VERSIONS} were)`,
    }
  )
}
