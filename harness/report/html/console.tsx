import { Fragment, type JSX } from 'preact'
import { visible } from '../../base/text.ts'
import type { ConsoleLine } from './console-lines.ts'

export interface ConsoleProps {
  readonly lines: readonly ConsoleLine[]
  /** Numbers of the lines that reasons name. */
  readonly told: readonly number[]
}

/** A console with line numbers that can be pointed at: `#L12`. */
export const Console = ({ lines, told }: ConsoleProps): JSX.Element => {
  const marked = new Set(told)
  return (
    <pre class="console" tabindex={0} role="region" aria-label="console">
      {lines.map(([number, text], i) => {
        const left = number - (lines[i - 1]?.[0] ?? 0) - 1
        return (
          <Fragment key={number}>
            {left > 0 && (
              <span class="dim">{`      ${left} lines are not shown\n`}</span>
            )}
            <span id={`L${number}`} class={classOf(text, marked.has(number))}>
              <span class="n">{number}</span>
              {`${visible(text)}\n`}
            </span>
          </Fragment>
        )
      })}
    </pre>
  )
}

const classOf = (line: string, told: boolean): string => {
  const words = [
    ...(/tdx|seam/i.test(line) ? ['tdx'] : []),
    ...(told ? ['told'] : []),
  ]
  return words.join(' ')
}
