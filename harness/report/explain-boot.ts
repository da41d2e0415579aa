import { MIB } from '../base/units.ts'
import type { Facts } from '../console/facts.ts'
import type { Explanation } from '../judge/explain.ts'

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

const GOOD: Readonly<Partial<Record<string, string>>> = {
  true: 'ok: ',
  false: 'NOT: ',
}

export const firmwareTexts = (platform: Explanation['platform']): string[] =>
  platform.map(({ text, isGood }) => `${GOOD[String(isGood)] ?? ''}${text}`)

/** Those that did not do what they say one by one, the others together. */
export const askedTexts = (asked: Explanation['asked']): string[] => {
  const effects = new Set(asked.map(({ effect }) => effect))
  const [effect] = effects
  if (asked.length < 2 || effects.size > 1)
    return asked
      .filter(one => asked.length === 1 || one.effect !== 'yes')
      .map(({ text }) => text)
  if (effect === 'yes')
    return [`all ${asked.length} mem= and memmap= took effect`]
  return effect === 'unknown'
    ? [
        `${asked.length} mem= and memmap=: the log has no user-defined map ('user:') to see them in`,
      ]
    : asked.map(({ text }) => text)
}
