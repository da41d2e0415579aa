/** What a result document can be written as; by the name of its option. */
export const FORMAT_TITLES = {
  junit: 'JUnit XML',
  kcidb: "a report for KernelCI's database",
  markdown: 'Markdown for a mail, 72 columns wide',
  githubSummary: 'Markdown for the summary of a GitHub step',
  githubAnnotations: 'workflow commands that annotate the scenarios',
} as const

export type FormatName = keyof typeof FORMAT_TITLES

export const FORMAT_NAMES = Object.keys(FORMAT_TITLES) as FormatName[]
