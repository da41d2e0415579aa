import { Option } from 'commander'
import { checkOutputFile } from '../base/output.ts'
import {
  FORMATS,
  FORMAT_NAMES,
  type FormatName,
} from '../report/formats/index.ts'
import { isOrigin } from '../report/formats/kcidb-schema.ts'
import { compareRuns } from '../report/compare.ts'
import type { Baseline } from '../report/html/changes.tsx'
import type { ResultDocument } from '../report/schema.ts'
import { readResult } from '../run/result-file.ts'
import type { DocumentTarget } from '../run/journal.ts'
import { UsageError } from '../base/errors.ts'
import { flagName } from './options.ts'

/** Files with a result document in one form or another, as they are asked for. */
export interface ReportFlags extends Readonly<
  Partial<Record<FormatName, string>>
> {
  readonly json?: string
  readonly html?: string
  /** What the report is compared with: a result document or a run's folder. */
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
    'with --html: what changed against this run, a result.json or its folder',
  ),
  ...FORMAT_NAMES.map(
    name =>
      new Option(`${flagName(name)} <file>`, `write ${FORMATS[name].title}`),
  ),
  new Option(
    '--origin <name>',
    `with --kcidb: who reports; default: ${USUAL_ORIGIN}`,
  ),
]

/** Whatever cannot be written must be known before anything is booted. */
export const checkReportFiles = async (flags: ReportFlags): Promise<void> => {
  if (flags.origin !== undefined && !isOrigin(flags.origin))
    throw new UsageError(
      'ORIGIN',
      `--origin: expected a name of a-z, 0-9 and _, found '${flags.origin}'`,
    )
  if (flags.baseline !== undefined) await readResult(flags.baseline)
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
      const render = (document: ResultDocument): string =>
        FORMATS[name].render(document, { origin })
      return path === undefined ? [] : [{ path, render }]
    }),
  ]
}

const renderHtml =
  ({ baseline }: ReportFlags, folder: string): DocumentTarget['render'] =>
  async document => {
    // Few runs need it, and it takes a while to load.
    const { reportHtml } = await import('./html-files.ts')
    return reportHtml(document, {
      folder,
      baseline:
        baseline === undefined ? null : await comparedWith(document, baseline),
    })
  }

const comparedWith = async (
  now: ResultDocument,
  path: string,
): Promise<Baseline> => {
  const { document: old } = await readResult(path)
  return {
    name: `${path}, ${old.started}`,
    comparison: compareRuns(old, now),
  }
}

/** The flags as words, to ask for the same again. */
export const reportWords = (flags: ReportFlags): string[] =>
  (['json', 'html', 'baseline', ...FORMAT_NAMES, 'origin'] as const).flatMap(
    name => {
      const value = flags[name]
      return value === undefined ? [] : [flagName(name), value]
    },
  )

export const documentText = (document: ResultDocument): string =>
  `${JSON.stringify(document, null, 2)}\n`
