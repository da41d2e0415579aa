import type { ResultDocument } from '../schema.ts'
import { annotations, stepSummary } from './github.ts'
import { junit } from './junit.ts'
import { kcidb } from './kcidb.ts'
import { markdown } from './markdown.ts'

/** What a result document can be written as, beside its own JSON. */

export interface FormatOptions {
  /** Who reports, for KCIDB. */
  readonly origin: string
}

export interface Format {
  /** For the help of its option. */
  readonly title: string
  readonly render: (document: ResultDocument, options: FormatOptions) => string
}

/** By the name of its option. */
export const FORMATS = {
  junit: { title: 'JUnit XML', render: junit },
  kcidb: { title: "a report for KernelCI's database", render: kcidb },
  markdown: { title: 'Markdown for a mail, 72 columns wide', render: markdown },
  githubSummary: {
    title: 'Markdown for the summary of a GitHub step',
    render: stepSummary,
  },
  githubAnnotations: {
    title: 'workflow commands that annotate the scenarios',
    render: annotations,
  },
} satisfies Readonly<Record<string, Format>>

export type FormatName = keyof typeof FORMATS

export const FORMAT_NAMES = Object.keys(FORMATS) as FormatName[]
