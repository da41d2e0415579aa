import type { ResultDocument } from '../schema.ts'
import { annotations, stepSummary } from './github.ts'
import { junit } from './junit.ts'
import { kcidb } from './kcidb.ts'
import { markdown } from './markdown.ts'
import type { FormatName } from './titles.ts'

export interface FormatOptions {
  /** Who reports, for KCIDB. */
  readonly origin: string
}

/** A result document in another form. */
type Render = (document: ResultDocument, options: FormatOptions) => string

export const RENDER: Readonly<Record<FormatName, Render>> = {
  junit,
  kcidb,
  markdown,
  githubSummary: stepSummary,
  githubAnnotations: annotations,
}
