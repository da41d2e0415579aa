import type { ComponentChildren, JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { type Comparison, changeText, endingOf } from '../compare.ts'
import type { CaseResult } from '../schema.ts'
import { caseAnchor } from './anchors.ts'

/** Entries that are listed of each kind. */
const LISTED = 50

export interface Baseline {
  /** What the run is compared with. */
  readonly name: string
  readonly comparison: Comparison
}

export interface ChangesProps {
  readonly baseline: Baseline
  readonly cases: readonly CaseResult[]
}

/** What changed against another run: new failures first. */
export const Changes = ({
  baseline: { name, comparison },
  cases,
}: ChangesProps): JSX.Element => {
  const index = new Map(cases.map(({ id }, i) => [id, i]))
  const link = (id: string): JSX.Element => {
    const at = index.get(id)
    return at === undefined ? (
      <>{visible(id)}</>
    ) : (
      <a href={caseAnchor(at)}>{visible(id)}</a>
    )
  }
  const parts: readonly (readonly [string, ComponentChildren[]])[] = [
    [
      'new failures',
      comparison.newFailures.map(({ id, reasons }) => (
        <>
          {link(id)}: {visible(reasons[0]?.message ?? '')}
        </>
      )),
    ],
    ['fixed', comparison.fixed.map(({ id }) => link(id))],
    ['still failing', comparison.stillFailing.map(({ id }) => link(id))],
    [
      'not judged any more',
      comparison.unjudged.map(({ id, now }) => (
        <>
          {link(id)}: {visible(now.reasons[0]?.message ?? now.verdict)}
        </>
      )),
    ],
    [
      'TDX ends in another way',
      comparison.outcomes.map(({ id, old, now }) => (
        <>
          {link(id)}: {endingOf(old)}, now {endingOf(now)}
        </>
      )),
    ],
    [
      'other regions',
      comparison.regions.map(({ id, ranges }) => (
        <>
          {link(id)}: {ranges.map(changeText).join('; ')}
        </>
      )),
    ],
    [
      'other headroom',
      comparison.headroom.map(({ id, figures }) => (
        <>
          {link(id)}:{' '}
          {figures
            .map(({ name, old, now }) => `${name} ${old}, now ${now}`)
            .join('; ')}
        </>
      )),
    ],
    ['new cases', comparison.added.map(({ id }) => link(id))],
    ['gone cases', comparison.gone.map(({ id }) => link(id))],
  ]
  const told = parts.filter(([, entries]) => entries.length > 0)
  return (
    <section id="changes">
      <h2>Changed since {visible(name)}</h2>
      {told.length === 0 && <p>Nothing changed.</p>}
      {told.map(([title, entries]) => (
        <details key={title} open={title === 'new failures'}>
          <summary class={title === 'new failures' ? 'fail' : ''}>
            {title}: {entries.length}
          </summary>
          <ul>
            {entries.slice(0, LISTED).map((entry, i) => (
              <li key={i}>{entry}</li>
            ))}
            {entries.length > LISTED && (
              <li>and {entries.length - LISTED} more</li>
            )}
          </ul>
        </details>
      ))}
    </section>
  )
}
