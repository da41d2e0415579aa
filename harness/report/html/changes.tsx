import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'
import { type Comparison, changeParts } from '../compare.ts'
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
  const places = new Map(cases.map(({ id }, i) => [id, i]))
  const parts = changeParts(comparison)
  return (
    <section id="changes">
      <h2>Changed since {visible(name)}</h2>
      {parts.length === 0 && <p>Nothing changed.</p>}
      {parts.map(({ title, isAlarm, entries }) => (
        <details key={title} open={isAlarm}>
          <summary class={isAlarm ? 'fail' : ''}>
            {title}: {entries.length}
          </summary>
          <ul>
            {entries.slice(0, LISTED).map(({ id, lines }) => (
              <li key={id}>
                <CaseLink id={id} place={places.get(id)} />
                {lines.length > 0 && `: ${lines.map(visible).join('; ')}`}
              </li>
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

/** A case that is gone has no part in the report. */
const CaseLink = ({
  id,
  place,
}: {
  readonly id: string
  readonly place: number | undefined
}): JSX.Element =>
  place === undefined ? (
    <>{visible(id)}</>
  ) : (
    <a href={caseAnchor(place)}>{visible(id)}</a>
  )
