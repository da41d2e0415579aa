import type { SeriesName } from '../tdx/series/index.ts'
import type { CountedLine } from './gcov.ts'
import { UNREACHABLE, type Unreachable } from './unreachable.ts'

/** A line, and why it cannot be reached; undefined: it can. */
export interface JudgedLine {
  readonly line: CountedLine
  readonly unreachable: Unreachable | undefined
}

/** Coverage of one file of one kernel. */
export interface FileCoverage {
  readonly file: string
  /** Lines with code, without those that cannot be reached. */
  readonly lines: Ratio
  /** Ways out of conditions on these lines. */
  readonly branches: Ratio
  /** Lines that cannot be reached. */
  readonly unreachable: number
  /** Lines that no boot executed, in their order. */
  readonly missed: readonly JudgedLine[]
}

export interface Ratio {
  readonly reached: number
  readonly all: number
}

export interface KernelCoverage {
  readonly kernel: string
  readonly files: readonly FileCoverage[]
  /** Rows of the table that are wrong: what they excuse was reached, or is not there. */
  readonly wrongRows: readonly string[]
}

/** What the counters of a kernel say, file by file. */
export const coverageOf = (
  kernel: string,
  series: SeriesName,
  lines: readonly CountedLine[],
): KernelCoverage => {
  const rows = UNREACHABLE.filter(row => row.series.includes(series))
  const files = [...new Set(lines.map(({ file }) => file))].sort()
  return {
    kernel,
    files: files.map(file =>
      fileCoverage(
        file,
        lines.filter(line => line.file === file),
        rows,
      ),
    ),
    wrongRows: rows.flatMap(row => wrongIn(row, lines)),
  }
}

const fileCoverage = (
  file: string,
  lines: readonly CountedLine[],
  rows: readonly Unreachable[],
): FileCoverage => {
  const judged = lines.map(line => ({
    line,
    unreachable:
      line.count > 0 ? undefined : rows.find(row => isAbout(row, line)),
  }))
  const reachable = judged.filter(({ unreachable }) => !unreachable)
  const branches = reachable.flatMap(({ line }) => line.branches)
  return {
    file,
    lines: {
      reached: reachable.filter(({ line }) => line.count > 0).length,
      all: reachable.length,
    },
    branches: {
      reached: branches.filter(count => count > 0).length,
      all: branches.length,
    },
    unreachable: lines.length - reachable.length,
    missed: judged.filter(({ line }) => line.count === 0),
  }
}

const isAbout = (row: Unreachable, line: CountedLine): boolean =>
  line.file.endsWith(`/${row.file}`) &&
  row.functions.test(line.function) &&
  (row.lines?.includes(line.text) ?? true)

/** A row must be about lines that are there, and that nothing has reached. */
const wrongIn = (row: Unreachable, lines: readonly CountedLine[]): string[] => {
  const about = lines.filter(line => isAbout(row, line))
  const place = `${row.file}, ${row.functions.source}`
  const gone = (row.lines ?? []).filter(
    text => !about.some(line => line.text === text),
  )
  // The same text may stand twice in a function, and be reached once.
  const reached = about.filter(
    ({ count, text }) =>
      count > 0 &&
      (row.lines === undefined ||
        !about.some(other => other.text === text && other.count === 0)),
  )
  return [
    ...(about.length === 0 ? [`${place}: there are no such lines`] : []),
    ...gone.map(text => `${place}: there is no line '${text}'`),
    ...reached.map(
      ({ line, text }) => `${place}: line ${line} is reached: ${text}`,
    ),
  ]
}

const percent = ({ reached, all }: Ratio): string =>
  all === 0 ? '100.0 %' : `${((100 * reached) / all).toFixed(1)} %`

const sum = (ratios: readonly Ratio[]): Ratio => ({
  reached: ratios.reduce((total, { reached }) => total + reached, 0),
  all: ratios.reduce((total, { all }) => total + all, 0),
})

/** Of lines that can be reached, as a part of 1. */
export const lineCoverage = ({ files }: KernelCoverage): number => {
  const { reached, all } = sum(files.map(({ lines }) => lines))
  return all === 0 ? 1 : reached / all
}

/** A table of the files, and below it each line that was not reached. */
export const coverageText = (coverage: KernelCoverage): string => {
  const { kernel, files, wrongRows } = coverage
  const row = (name: string, lines: Ratio, ways: Ratio, rest: number): string =>
    `  ${name.padEnd(42)} ${percent(lines).padStart(8)} ${`${lines.reached}/${lines.all}`.padStart(10)} ${percent(ways).padStart(8)} ${`${ways.reached}/${ways.all}`.padStart(10)} ${String(rest).padStart(6)}`
  const total = row(
    'all',
    sum(files.map(({ lines }) => lines)),
    sum(files.map(({ branches }) => branches)),
    files.reduce((count, { unreachable }) => count + unreachable, 0),
  )
  return [
    kernel,
    `  ${'file'.padEnd(42)} ${'lines'.padStart(19)} ${'branches'.padStart(19)} cannot`,
    ...files.map(({ file, lines, branches, unreachable }) =>
      row(file, lines, branches, unreachable),
    ),
    total,
    ...files.flatMap(missedText),
    ...wrongRows.map(text => `  wrong row of the table: ${text}`),
  ].join('\n')
}

/** Functions of which nothing was reached take one line. */
const missedText = ({ file, missed }: FileCoverage): string[] => {
  const name = file.slice(file.lastIndexOf('/') + 1)
  const text: string[] = []
  let whole: Unreachable | undefined
  let of = ''
  for (const { line, unreachable } of missed) {
    const wholeFunction = unreachable?.lines === undefined && unreachable
    if (wholeFunction && whole === unreachable && of === line.function) continue
    whole = wholeFunction ? unreachable : undefined
    of = line.function
    text.push(
      wholeFunction
        ? `  ${name}:${line.line} ${line.function}(): cannot: ${wholeFunction.why}`
        : `  ${name}:${line.line} ${line.function}: ${line.text}\n      ${unreachable ? `cannot: ${unreachable.why}` : 'NOT REACHED'}`,
    )
  }
  return text
}
