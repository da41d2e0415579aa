import { MIB } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'

/** How logs are shown, on a terminal and in a page. */

/** Bytes of a log that is shown as a whole. */
export const SHOWN_LOG = 4 * MIB

/** A log as it was read. */
export interface ReadBoots {
  readonly file: string
  readonly boots: readonly Facts[]
  /** Boots at its beginning that were let go. */
  readonly forgotten: number
}

/** How a boot of a log is named, where there are several. */
export const bootName = (
  { file, boots, forgotten }: ReadBoots,
  i: number,
): string =>
  boots.length + forgotten > 1 ? `${file} (boot ${forgotten + i + 1})` : file
