import { visible } from '../base/text.ts'
import { messagesOf } from '../judge/case-outcome.ts'
import type { CampaignReport, Disagreement } from './campaign.ts'
import type { ModelReport } from './model-only.ts'

/** What a campaign prints for people. */

const elapsed = (ms: number): string => {
  const seconds = Math.round(ms / 1000)
  return seconds < 120
    ? `${(ms / 1000).toFixed(1)} s`
    : `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

const plural = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? '' : 's'}`

interface Campaigned {
  readonly seed: number
  readonly report: CampaignReport
  /** The scenarios that were kept. */
  readonly files: ReadonlyMap<Disagreement, string>
  readonly ms: number
}

export const fuzzText = ({ seed, report, files, ms }: Campaigned): string => {
  const { booted, agreed, weak, known, disagreements, errors } = report
  const explained = new Set([...known.values()].flat()).size
  return [
    ...disagreements.flatMap(found => [
      `DISAGREE number ${found.number} on ${found.kernel}${found.again > 0 ? `, and ${plural(found.again, 'boot')} like it` : ''}: ${files.get(found) ?? ''}`,
      ...messagesOf(found.outcome).map(text => `    ${visible(text)}`),
    ]),
    ...errors.map(
      ({ item, message }) => `ERROR ${item.id}: ${visible(message)}`,
    ),
    ...[...known].map(
      ([{ name, why }, numbers]) =>
        `known (${numbers.length === 1 ? 'number' : 'numbers'} ${numbers.sort((a, b) => a - b).join(', ')}): ${name}: ${why}`,
    ),
    `${plural(booted, 'boot')} of random layouts in ${elapsed(ms)}: ${agreed} agree with the model${weak > 0 ? ` (${weak} where it leaves something open)` : ''}, ${explained} explained by known issues, ${countOf(disagreements)} disagree, ${plural(errors.length, 'error')} (seed ${seed})`,
    '',
  ].join('\n')
}

const countOf = (disagreements: CampaignReport['disagreements']): number =>
  disagreements.reduce((sum, { again }) => sum + 1 + again, 0)

interface Checked {
  readonly seed: number
  readonly report: ModelReport
  readonly files: readonly string[]
  readonly ms: number
}

export const modelText = ({
  seed,
  report: { layouts, found },
  files,
  ms,
}: Checked): string =>
  [
    ...found.flatMap(({ number, violations }, i) => [
      `VIOLATED by number ${number}: ${files[i] ?? ''}`,
      ...violations.map(text => `    ${text}`),
    ]),
    `${plural(layouts, 'random layout')} with the rules of each kernel in ${elapsed(ms)} (${Math.round((layouts * 1000) / ms)} a second): ${found.length === 0 ? 'all invariants hold' : plural(found.length, 'violation')} (seed ${seed})`,
    '',
  ].join('\n')
