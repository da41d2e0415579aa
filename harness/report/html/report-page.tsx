import type { ResultDocument } from '../schema.ts'
import type { Baseline } from './changes.tsx'
import { type Script, htmlPage } from './page.tsx'
import { ReportView } from './report-view.tsx'

/** Cases whose details are packed together. */
export const CASES_PER_BLOCK = 16

/** What a script in the report needs to know at once. */
export interface ReportIndex {
  readonly cases: number
  readonly perBlock: number
  /** Places of cases that did not pass. */
  readonly wrong: readonly number[]
}

export interface ReportPageParts {
  readonly document: ResultDocument
  readonly baseline: Baseline | null
  /**
   * Details of every {@link CASES_PER_BLOCK} cases: JSON, packed with gzip, as
   * Base64. Most are never looked at, and a browser unpacks one at a time.
   */
  readonly blocks: readonly string[]
  readonly script: Script
  readonly styleSha256: string
}

/** The report of a run as one HTML file. */
export const reportPage = ({
  document,
  baseline,
  blocks,
  script,
  styleSha256,
}: ReportPageParts): string => {
  const index: ReportIndex = {
    cases: document.cases.length,
    perBlock: CASES_PER_BLOCK,
    wrong: document.cases.flatMap(({ verdict }, i) =>
      verdict === 'pass' || verdict === 'skip' ? [] : [i],
    ),
  }
  return htmlPage({
    title: `tdxrig: ${document.summary.fail + document.summary.invalid} failed of ${document.cases.length}`,
    body: (
      <>
        <ReportView document={document} baseline={baseline} />
        <main id="case" tabindex={-1} hidden />
        <noscript>
          <p>Without scripts, the parts of single cases cannot be opened.</p>
        </noscript>
      </>
    ),
    data: new Map([
      ['index', JSON.stringify(index)],
      ...blocks.map((text, i): [string, string] => [
        `block-${i}`,
        JSON.stringify(text),
      ]),
    ]),
    script,
    styleSha256,
  })
}
