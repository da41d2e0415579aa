import type { JSX } from 'preact'
import { visible } from '../../base/text.ts'

/** A console longer than this is shown in part, with what was told of. */
const SHOWN = 4000
/** Lines around one that a reason names. */
const AROUND = 50
/** Longest line that is shown. */
const LINE = 2000

export interface ConsoleProps {
  readonly text: string
  /** Lines that reasons name, from 1. */
  readonly told: readonly number[]
}

/** A console with line numbers that can be pointed at: `#L12`. */
export const Console = ({ text, told }: ConsoleProps): JSX.Element => {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/)
  const marked = new Set(told)
  const numbers = shownLines(lines.length, told)
  return (
    <pre class="console" tabindex={0} aria-label="console">
      {numbers.map((number, i) => (
        <>
          {number > (numbers[i - 1] ?? 0) + 1 && (
            <span class="dim">
              {`      ${number - (numbers[i - 1] ?? 0) - 1} lines are not shown\n`}
            </span>
          )}
          <span
            id={`L${number}`}
            key={number}
            class={classOf(lines[number - 1]!, marked.has(number))}
          >
            <span class="n">{number}</span>
            {`${lineText(lines[number - 1]!)}\n`}
          </span>
        </>
      ))}
    </pre>
  )
}

const shownLines = (count: number, told: readonly number[]): number[] => {
  const all = Array.from({ length: count }, (_, i) => i + 1)
  if (count <= SHOWN) return all
  return all.filter(
    number =>
      number <= SHOWN / 2 ||
      number > count - SHOWN / 4 ||
      told.some(line => Math.abs(line - number) <= AROUND),
  )
}

/** Tabs stay; whatever would move a cursor is shown. */
const lineText = (line: string): string => {
  const text = visible(line)
  return text.length > LINE ? `${text.slice(0, LINE)} ...` : text
}

const classOf = (line: string, told: boolean): string => {
  const words = [
    ...(/tdx|seam/i.test(line) ? ['tdx'] : []),
    ...(told ? ['told'] : []),
  ]
  return words.join(' ')
}
