import { visible } from '../../base/text.ts'

/** One thing that was looked at. */
export interface Finding {
  readonly part: string
  /** `warning`: cases run without it, but not all, or slowly. */
  readonly state: 'ok' | 'warning' | 'missing'
  readonly found: string
  /** What to do about it; null: nothing needs to be done. */
  readonly todo: string | null
  /** It is missing, and without it no case can be run. */
  readonly isBlocking: boolean
}

export const ok = (part: string, found: string): Finding => ({
  part,
  state: 'ok',
  found,
  todo: null,
  isBlocking: false,
})

export const warning = (
  part: string,
  found: string,
  todo: string | null,
): Finding => ({ part, state: 'warning', found, todo, isBlocking: false })

/** @param isBlocking whether no case can be run without it */
export const missing = (
  part: string,
  found: string,
  todo: string,
  isBlocking: boolean,
): Finding => ({ part, state: 'missing', found, todo, isBlocking })

/** Cases can be run. */
export const isReady = (findings: readonly Finding[]): boolean =>
  findings.every(({ isBlocking }) => !isBlocking)

/** Marks a sign for the terminal; the same length without colours. */
export type Paint = (text: string, state: Finding['state']) => string

/** A line for each finding, and what it comes to. */
export const findingsText = (
  findings: readonly Finding[],
  paint: Paint,
): string => {
  const width = Math.max(...findings.map(({ part }) => part.length))
  const lines = findings.map(({ part, state, found, todo }) => {
    const sign = paint(state.padEnd('missing'.length), state)
    const text = todo === null ? found : `${found}: ${todo}`
    return `${sign}  ${part.padEnd(width)}  ${oneLine(text)}`
  })
  const lacking = findings
    .filter(({ isBlocking }) => isBlocking)
    .map(({ part }) => part)
  const result =
    lacking.length === 0
      ? 'cases can be run'
      : `no case can be run without: ${lacking.join(', ')}`
  return `${[...lines, result].join('\n')}\n`
}

const oneLine = (text: string): string =>
  visible(text.trim().replaceAll(/\s*\n\s*/g, '; '))
