import { Option } from 'commander'
import { checkOutputFile } from '../base/output.ts'
import {
  FORMAT_NAMES,
  FORMAT_TITLES,
  type FormatName,
} from '../report/formats/titles.ts'
import type { Baseline } from '../report/html/changes.tsx'
import type { ComparedDocument, ResultDocument } from '../report/schema.ts'
import type { DocumentTarget } from '../run/journal.ts'
import { UsageError } from '../base/errors.ts'
import { historyOption } from './history-option.ts'
import type { HistoryFlags } from './history-place.ts'
import { flagName } from './options.ts'

/** Files with a result document in one form or another, as they are asked for. */
export interface ReportFlags
  extends HistoryFlags, Readonly<Partial<Record<FormatName, string>>> {
  readonly json?: string
  readonly html?: string
  /** What the report is compared with. */
  readonly baseline?: string
  /** Who reports to KernelCI. */
  readonly origin?: string
}

const USUAL_ORIGIN = 'tdxrig'

export const reportOptions = (): Option[] => [
  new Option('--json <file>', 'write the result document to this file as well'),
  new Option('--html <file>', 'write a report as one HTML file'),
  new Option(
    '--baseline <result>',
    'with --html: what changed against this run: a result.json, its folder, or a run or baseline of the history',
  ),
  ...FORMAT_NAMES.map(
    name =>
      new Option(`${flagName(name)} <file>`, `write ${FORMAT_TITLES[name]}`),
  ),
  new Option(
    '--origin <name>',
    `with --kcidb: who reports; default: ${USUAL_ORIGIN}`,
  ),
  historyOption(),
]

const isOrigin = async (name: string): Promise<boolean> => {
  const kcidb = await import('../report/formats/kcidb-schema.ts')
  return kcidb.isOrigin(name)
}

/** Whatever cannot be written must be known before anything is booted. */
export const checkReportFiles = async (flags: ReportFlags): Promise<void> => {
  if (flags.origin !== undefined && !(await isOrigin(flags.origin)))
    throw new UsageError(
      'ORIGIN',
      `--origin: expected a name of a-z, 0-9 and _, found '${flags.origin}'`,
    )
  if (flags.baseline !== undefined) await baselineOf(flags.baseline, flags)
  for (const name of ['json', 'html', ...FORMAT_NAMES] as const) {
    const path = flags[name]
    if (path !== undefined) await checkOutputFile(flagName(name), path)
  }
}

/**
 * @param folder where the consoles are that the document names
 * @returns a file for each flag, with how the document is written there
 */
export const reportTargets = (
  flags: ReportFlags,
  folder: string,
): DocumentTarget[] => {
  const { json, html, origin = USUAL_ORIGIN } = flags
  return [
    ...(json === undefined ? [] : [{ path: json, render: documentText }]),
    ...(html === undefined
      ? []
      : [{ path: html, render: renderHtml(flags, folder) }]),
    ...FORMAT_NAMES.flatMap(name => {
      const path = flags[name]
      const render: DocumentTarget['render'] = async document => {
        const { RENDER } = await import('../report/formats/index.ts')
        return RENDER[name](document, { origin })
      }
      return path === undefined ? [] : [{ path, render }]
    }),
  ]
}

const renderHtml =
  (flags: ReportFlags, folder: string): DocumentTarget['render'] =>
  async document => {
    // Few runs need it, and it takes a while to load.
    const { reportHtml } = await import('./html-files.ts')
    const { baseline } = flags
    return reportHtml(document, {
      folder,
      baseline:
        baseline === undefined
          ? null
          : await comparedWith(
              document,
              baseline,
              await baselineOf(baseline, flags),
            ),
    })
  }

/** It is asked for twice: before a run, and for its report. */
const baselines = new Map<string, Promise<ComparedDocument>>()

const baselineOf = (
  name: string,
  flags: HistoryFlags,
): Promise<ComparedDocument> => {
  const known = baselines.get(name) ?? readBaseline(name, flags)
  baselines.set(name, known)
  return known
}

const readBaseline = async (
  name: string,
  flags: HistoryFlags,
): Promise<ComparedDocument> => {
  // Most reports are compared with nothing, and it takes a while to load.
  const { comparedOf } = await import('./history-place.ts')
  return comparedOf(name, flags)
}

const comparedWith = async (
  now: ResultDocument,
  name: string,
  old: ComparedDocument,
): Promise<Baseline> => {
  const { compareRuns } = await import('../report/compare.ts')
  return {
    name: `${name}, ${old.started}`,
    comparison: compareRuns(old, now),
  }
}

/** The flags as words, to ask for the same again. */
export const reportWords = (flags: ReportFlags): string[] =>
  (
    ['json', 'html', 'baseline', ...FORMAT_NAMES, 'origin', 'history'] as const
  ).flatMap(name => {
    const value = flags[name]
    // A password is not printed: $TDXRIG_HISTORY holds it.
    const secret = name === 'history' && /:\/\/[^/@]*:[^/@]*@/.test(value ?? '')
    return value === undefined || secret ? [] : [flagName(name), value]
  })

/** JSON with a case a line: half as long as indented, and still to be read. */
export const documentText = ({ cases, ...head }: ResultDocument): string => {
  const text = JSON.stringify(head, null, 2).replace(/\n\}$/, '')
  const lines = cases.map(result => JSON.stringify(result)).join(',\n')
  return `${text},\n  "cases": [\n${lines}\n]}\n`
}
