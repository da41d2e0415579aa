import { visible } from '../base/text.ts'
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

/** @param files the scenarios that were kept */
export const fuzzText = (
  seed: number,
  report: CampaignReport,
  files: ReadonlyMap<Disagreement, string>,
  ms: number,
): string => {
  const { booted, agreed, weak, known, disagreements, errors } = report
  const explained = booted - agreed - errors.length - countOf(disagreements)
  return [
    ...disagreements.flatMap(found => [
      `DISAGREE number ${found.number} on ${found.kernel}${found.again > 0 ? `, and ${plural(found.again, 'boot')} like it` : ''}: ${files.get(found) ?? ''}`,
      ...found.result.reasons.map(({ message }) => `    ${visible(message)}`),
    ]),
    ...errors.map(
      ({ id, reasons }) =>
        `ERROR ${id}: ${visible(reasons.map(({ message }) => message).join('; '))}`,
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

export const modelText = (
  seed: number,
  { layouts, found }: ModelReport,
  files: readonly string[],
  ms: number,
): string =>
  [
    ...found.flatMap(({ number, violations }, i) => [
      `VIOLATED by number ${number}: ${files[i] ?? ''}`,
      ...violations.map(text => `    ${text}`),
    ]),
    `${plural(layouts, 'random layout')} with the rules of each kernel in ${elapsed(ms)} (${Math.round((layouts * 1000) / ms)} a second): ${found.length === 0 ? 'all invariants hold' : plural(found.length, 'violation')} (seed ${seed})`,
    '',
  ].join('\n')
