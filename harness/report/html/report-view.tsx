import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { VERDICTS } from '../../judge/context.ts'
import { endingOf, isFailing } from '../compare.ts'
import { drawnCase } from '../picture/drawn.ts'
import type { CaseResult, ResultDocument } from '../schema.ts'
import { type Baseline, Changes } from './changes.tsx'
import { caseAnchor } from './anchors.ts'
import { Legend } from './legend.tsx'
import {
  Picture,
  SIGNS,
  SuspectList,
  VerdictMark,
  secondsText,
  suspectsOf,
} from './shared.tsx'

export interface ReportViewProps {
  readonly document: ResultDocument
  readonly baseline: Baseline | null
}

/** What of a run is seen at once, without a script. */
export const ReportView = ({
  document,
  baseline,
}: ReportViewProps): JSX.Element => {
  const wrong = document.cases.flatMap((result, index) =>
    isFailing(result) || result.verdict === 'error' ? [{ result, index }] : [],
  )
  return (
    <main id="overview">
      <Summary document={document} />
      <FilterBar />
      {baseline && <Changes baseline={baseline} cases={document.cases} />}
      <Wrong cases={wrong} baseline={baseline} />
      <Grid cases={document.cases} />
      <Flaky cases={document.cases} />
      <Slowest cases={document.cases} />
    </main>
  )
}

/** Shown once a script is there to use it. */
const FilterBar = (): JSX.Element => (
  <div class="bar" id="bar" hidden>
    <input
      type="search"
      id="search"
      placeholder="find a case"
      aria-label="find a case"
    />
    {VERDICTS.map(verdict => (
      <label key={verdict} class={verdict}>
        <input type="checkbox" checked value={verdict} /> {verdict}
      </label>
    ))}
    <span class="dim" id="found" aria-live="polite" />
    <span class="dim">
      keys: / find, n and p next and previous that did not pass, Escape back
    </span>
  </div>
)

const Summary = ({
  document,
}: Pick<ReportViewProps, 'document'>): JSX.Element => {
  const { summary, rig, started, durationMs, kernels } = document
  return (
    <>
      <h1>tdxrig: {headline(document)}</h1>
      <p class="dim">
        {`started ${started}, ${secondsText(durationMs)}, ${visible(rig.machine)}, tdxrig ${visible(rig.version)}`}
      </p>
      {document.interrupted && (
        <p class="fail">The run was interrupted: cases are missing.</p>
      )}
      <ul class="counts">
        {VERDICTS.filter(verdict => summary[verdict] > 0).map(verdict => (
          <li key={verdict}>
            <VerdictMark verdict={verdict} /> {summary[verdict]}
          </li>
        ))}
      </ul>
      <p class="dim">
        {kernels
          .map(
            ({ name, release }) =>
              `${name}${release === null ? '' : ` (Linux ${release})`}`,
          )
          .map(visible)
          .join(', ')}
      </p>
    </>
  )
}

const headline = ({ summary, cases }: ResultDocument): string => {
  const failed = summary.fail + summary.invalid
  if (cases.length === 0) return 'nothing was run'
  if (failed > 0) return `${failed} of ${cases.length} cases failed`
  return summary.error > 0
    ? `no case failed, and ${summary.error} of ${cases.length} could not be judged`
    : 'no case failed'
}

/** Of more than these the picture is in their own part alone. */
const PICTURED = 20
const LISTED = 200

interface Placed {
  readonly result: CaseResult
  /** In the document. */
  readonly index: number
}

const Wrong = ({
  cases,
  baseline,
}: {
  readonly cases: readonly Placed[]
  readonly baseline: Baseline | null
}): JSX.Element | null =>
  cases.length === 0 ? null : (
    <section id="wrong">
      <h2>What did not pass</h2>
      {cases.slice(0, LISTED).map(({ result, index }, i) => (
        <WrongCase
          key={result.id}
          result={result}
          index={index}
          pictured={i < PICTURED}
          before={baseline && beforeText(result, baseline)}
        />
      ))}
      {cases.length > LISTED && (
        <p>{cases.length - LISTED} more are in the table below.</p>
      )}
      <Legend />
    </section>
  )

/** What became of a case in the run that this one is compared with. */
const beforeText = (
  { id }: CaseResult,
  { name, comparison }: Baseline,
): string => {
  const isIn = (list: readonly { readonly id: string }[]): boolean =>
    list.some(one => one.id === id)
  if (isIn(comparison.added)) return `not in ${name}`
  return isIn(comparison.newFailures) || isIn(comparison.unjudged)
    ? `did not fail in ${name}`
    : `not better in ${name}`
}

interface WrongCaseProps extends Placed {
  readonly pictured: boolean
  /** Null: there is nothing to compare with. */
  readonly before: string | null
}

const WrongCase = ({
  result,
  index,
  pictured,
  before,
}: WrongCaseProps): JSX.Element => {
  const suspects = suspectsOf(result)
  return (
    <section
      class={`card ${result.verdict}`}
      data-case={visible(result.id)}
      data-verdict={result.verdict}
    >
      <h3>
        <VerdictMark verdict={result.verdict} />{' '}
        <a href={caseAnchor(index)}>{visible(result.id)}</a>
      </h3>
      {before !== null && <p class="dim">{visible(before)}</p>}
      <ul>
        {result.reasons.map(({ check, message }) => (
          <li key={`${check} ${message}`}>{visible(message)}</li>
        ))}
      </ul>
      <SuspectList suspects={suspects} />
      {pictured && suspects.length > 0 && (
        <Picture
          drawn={drawnCase(result)}
          title={`memory map of ${visible(result.id)}`}
        />
      )}
      <p class="dim">
        TDX: {endingOf(result)}. Again: <code>{visible(result.reproduce)}</code>
      </p>
    </section>
  )
}

/** Cases by scenario and kernel. */
const Grid = ({
  cases,
}: {
  readonly cases: readonly CaseResult[]
}): JSX.Element => {
  const kernels = [...new Set(cases.map(({ kernel }) => kernel))]
  const rows = new Map<string, (CaseResult & { readonly index: number })[]>()
  for (const [index, result] of cases.entries()) {
    const row = rowName(result)
    rows.set(row, [...(rows.get(row) ?? []), { ...result, index }])
  }
  return (
    <section>
      <h2>All cases</h2>
      <div class="scroll">
        <table class="grid" id="grid">
          <thead>
            <tr>
              <th scope="col">scenario</th>
              {kernels.map(kernel => (
                <th scope="col" key={kernel}>
                  {visible(kernel)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {[...rows].map(([row, own]) => (
              <tr
                key={row}
                data-case={visible(own.map(({ id }) => id).join(' '))}
              >
                <th scope="row">{visible(row)}</th>
                {kernels.map(kernel => (
                  <Cell
                    key={kernel}
                    result={own.find(one => one.kernel === kernel)}
                  />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

const rowName = ({ id, kernel }: CaseResult): string =>
  id.endsWith(`@${kernel}`) ? id.slice(0, -kernel.length - 1) : id

const Cell = ({
  result,
}: {
  readonly result: (CaseResult & { readonly index: number }) | undefined
}): JSX.Element =>
  result ? (
    <td class={`cell ${result.verdict}`} data-verdict={result.verdict}>
      <a
        href={caseAnchor(result.index)}
        title={visible(
          `${result.verdict}: ${result.reasons[0]?.message ?? endingOf(result)}`,
        )}
        aria-label={visible(`${result.verdict}: ${result.id}`)}
      >
        {SIGNS[result.verdict]}
      </a>
    </td>
  ) : (
    <td class="cell" />
  )

/** Cases whose attempts in this run did not agree. */
const Flaky = ({
  cases,
}: {
  readonly cases: readonly CaseResult[]
}): JSX.Element | null => {
  const flaky = cases.flatMap((result, index) =>
    new Set(
      result.attempts
        .filter(({ verdict }) => verdict !== 'error')
        .map(({ verdict }) => verdict === 'pass'),
    ).size > 1
      ? [{ result, index }]
      : [],
  )
  return flaky.length === 0 ? null : (
    <section>
      <h2>Flaky in this run</h2>
      <ul>
        {flaky.map(({ result, index }) => (
          <li key={result.id}>
            <a href={caseAnchor(index)}>{visible(result.id)}</a>:{' '}
            {result.attempts.map(({ verdict }) => verdict).join(', ')}
          </li>
        ))}
      </ul>
    </section>
  )
}

const SLOWEST = 10

const Slowest = ({
  cases,
}: {
  readonly cases: readonly CaseResult[]
}): JSX.Element | null => {
  const slowest = cases
    .map((result, index) => ({ result, index }))
    .filter(({ result }) => result.timing.totalMs > 0)
    .sort((a, b) => b.result.timing.totalMs - a.result.timing.totalMs)
    .slice(0, SLOWEST)
  return slowest.length === 0 ? null : (
    <section>
      <h2>Slowest</h2>
      <table>
        <tbody>
          {slowest.map(({ result, index }) => (
            <tr key={result.id}>
              <td>{secondsText(result.timing.totalMs)}</td>
              <td>
                <a href={caseAnchor(index)}>{visible(result.id)}</a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
