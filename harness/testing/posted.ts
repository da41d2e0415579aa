import colors from 'picocolors'
import { ConsoleReader } from '../console/reader.ts'
import { type Explanation, explain } from '../judge/explain.ts'
import { explainText } from '../report/explain-text.ts'

/** Logs as people post them, made of a few lines. */

export const boots = (...lines: readonly string[]): Explanation[] => {
  const reader = new ConsoleReader({ pasted: true })
  reader.push(Buffer.from(`${lines.join('\n')}\n`))
  reader.end()
  return reader.boots().map(explain)
}

export const only = (...lines: readonly string[]): Explanation => {
  const all = boots(...lines)
  if (all.length !== 1) throw new Error(`${all.length} boots were found`)
  return all[0]!
}

export const said = (explanation: Explanation): string =>
  explainText(
    { file: 'log', boot: 1, explanation, verdict: [] },
    {
      name: 'log',
      screen: { columns: 80, ascii: true, colors: colors.createColors(false) },
    },
  )

export const at = (time: number, text: string): string =>
  `[${time.toFixed(6).padStart(12)}] ${text}`
export const first = (...texts: readonly string[]): string[] =>
  texts.map(text => at(0, text))

export const version = (release: string): string =>
  `Linux version ${release} (builder@example) (gcc 12) #1 SMP`
export const CMDLINE = 'Command line: root=/dev/vda1 ro'
export const HEADLINE = 'BIOS-provided physical RAM map:'
export const LOW =
  'BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable'
export const HIGH =
  'BIOS-e820: [mem 0x0000000000100000-0x00000000bfffffff] usable'
export const ABOVE =
  'BIOS-e820: [mem 0x0000000100000000-0x000000043fffffff] usable'
export const BEHIND = 'NX (Execute Disable) protection: active'
export const MAP = [HEADLINE, LOW, HIGH, ABOVE, BEHIND]

export const regionsOf = ({
  prediction,
}: Explanation): (number | undefined)[][] =>
  (prediction?.layout.regions ?? []).map(({ start, end, node }) => [
    start,
    end,
    node,
  ])
