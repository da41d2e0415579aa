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

/** Those of which the same is said together, the others one by one. */
export const askedTexts = (asked: Explanation['asked']): string[] => {
  const groups = new Map<string, Explanation['asked'][number][]>()
  for (const one of asked) {
    const { word, text } = one
    const said = text.startsWith(word) ? text.slice(word.length) : text
    groups.set(said, [...(groups.get(said) ?? []), one])
  }
  return [...groups].map(([said, group]) =>
    group.length === 1 ? group[0]!.text : `${groupName(group, asked)}${said}`,
  )
}

/** By their kind where that says which, otherwise one by one. */
const groupName = (
  group: Explanation['asked'],
  asked: Explanation['asked'],
): string => {
  const kind = (word: string): string => word.replace(/=.*/s, '=')
  const kinds = [...new Set(group.map(({ word }) => kind(word)))]
  const isAll = group.length === asked.length
  const isWhole = asked.every(
    one => group.includes(one) || !kinds.includes(kind(one.word)),
  )
  return isWhole
    ? `${isAll ? 'all ' : ''}${group.length} ${kinds.join(' and ')}`
    : group.map(({ word }) => word.slice(0, 80)).join(', ')
}
