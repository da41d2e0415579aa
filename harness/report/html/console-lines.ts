/** Lines of a console that are shown, each with its number from 1. */
export type ConsoleLine = readonly [number: number, text: string]

/** A longer console is shown in part. */
const SHOWN = 4000
/** Lines around one that a reason names. */
const AROUND = 50
/** Longest line that is shown. */
const LINE = 2000

/**
 * The lines to show: all, or of a long console its beginning, its end, and
 * what is around the lines that reasons name.
 *
 * @param told numbers of those lines
 */
export const consoleLines = (
  text: string,
  told: readonly number[],
): ConsoleLine[] => {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/)
  const near = new Set(
    told
      .slice(0, AROUND)
      .flatMap(line =>
        Array.from({ length: 2 * AROUND + 1 }, (_, i) => line - AROUND + i),
      ),
  )
  return lines.flatMap((line, i): ConsoleLine[] => {
    const number = i + 1
    const isShown =
      lines.length <= SHOWN ||
      number <= SHOWN / 2 ||
      number > lines.length - SHOWN / 4 ||
      near.has(number)
    if (!isShown) return []
    return [[number, line.length > LINE ? `${line.slice(0, LINE)} ...` : line]]
  })
}
