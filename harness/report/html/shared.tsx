import type { ComponentChildren, JSX } from 'preact'
import type { Verdict } from '../../judge/context.ts'
import { visible } from '../../base/text.ts'
import { drawnCase } from '../picture/drawn.ts'
import { MemoryMap } from '../picture/memory-map.tsx'
import { comparedWith, differenceText, pictureOf } from '../picture/picture.ts'
import { type Drawn, parametersAt, rowsOf } from '../picture/rows.ts'
import type { CaseResult } from '../schema.ts'

/** What several parts of the pages have in common. */

export const SIGNS: Readonly<Record<Verdict, string>> = {
  pass: '✓',
  fail: '✗',
  invalid: '?',
  error: '!',
  skip: '–',
}

export const VerdictMark = ({
  verdict,
}: {
  readonly verdict: Verdict
}): JSX.Element => (
  <span class={`verdict ${verdict}`}>
    {SIGNS[verdict]} {verdict}
  </span>
)

export const secondsText = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

/** A table of titles and values; what has no value is left out. */
export const FactTable = ({
  rows,
}: {
  readonly rows: readonly (readonly [title: string, value: ComponentChildren])[]
}): JSX.Element => (
  <table class="facts">
    <tbody>
      {rows
        .filter(([, value]) => value !== null && value !== '')
        .map(([title, value]) => (
          <tr key={title}>
            <th scope="row">{title}</th>
            <td>{value}</td>
          </tr>
        ))}
    </tbody>
  </table>
)

export const Code = ({ text }: { readonly text: string }): JSX.Element => (
  <code>{visible(text)}</code>
)

/** The picture of a memory map; it may be wider than the page. */
export const Picture = ({
  drawn,
  title,
}: {
  readonly drawn: Drawn
  readonly title: string
}): JSX.Element => (
  <div class="scroll">
    <MemoryMap picture={pictureOf(rowsOf(drawn))} title={title} />
  </div>
)

/** A difference between prediction and kernel, and what points at it. */
export interface Suspect {
  readonly where: string
  /** As they are written; none: no parameter names that memory. */
  readonly parameters: readonly string[]
}

const SHOWN = 6

/** The places where a kernel's memory is not as it must be. */
export const suspectsOf = (result: CaseResult): Suspect[] => {
  const drawn = drawnCase(result)
  const { lanes } = pictureOf(rowsOf(drawn))
  return lanes
    .flatMap(lane => lane.differences.map(difference => ({ lane, difference })))
    .slice(0, SHOWN)
    .map(({ lane, difference }) => ({
      where: `${lane.title}, not as in ${comparedWith(lane)}: ${differenceText(difference)}`,
      parameters: parametersAt(drawn.cmdline, difference),
    }))
}

export const SuspectList = ({
  suspects,
}: {
  readonly suspects: readonly Suspect[]
}): JSX.Element | null =>
  suspects.length === 0 ? null : (
    <ul class="suspects">
      {suspects.map(({ where, parameters }) => (
        <li key={where}>
          {where}
          {parameters.length > 0 && (
            <span class="suspect">
              {', where '}
              <Code text={parameters.join(' ')} />
              {parameters.length === 1 ? ' points' : ' point'}
            </span>
          )}
        </li>
      ))}
    </ul>
  )
