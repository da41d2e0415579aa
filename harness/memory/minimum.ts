import { MIB } from '../base/units.ts'

/** How little memory there may be, each for its own reason. */
export const MINIMUM_MEMORY = {
  /** In TDX memory regions; below it a boot never comes to TDX. */
  regions: 128 * MIB,
  /** In all; the smallest kernel boots with it. */
  kernel: 320 * MIB,
  /** In one piece below 4 GiB, where drivers need some. */
  inOnePiece: 96 * MIB,
  /** Of a machine: what a scenario may ask for. */
  machine: 512 * MIB,
} as const
