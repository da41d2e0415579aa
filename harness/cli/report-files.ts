import { Option } from 'commander'
import { checkOutputFile } from '../base/output.ts'
import {
  FORMATS,
  FORMAT_NAMES,
  type FormatName,
} from '../report/formats/index.ts'
import { isOrigin } from '../report/formats/kcidb-schema.ts'
import type { ResultDocument } from '../report/schema.ts'
import type { DocumentTarget } from '../run/journal.ts'
import { UsageError } from '../base/errors.ts'
import { flagName } from './options.ts'

/** Files with a result document in one form or another, as they are asked for. */
export interface ReportFlags extends Readonly<
  Partial<Record<FormatName, string>>
> {
  readonly json?: string
  /** Who reports to KernelCI. */
  readonly origin?: string
}

const USUAL_ORIGIN = 'tdxrig'

export const reportOptions = (): Option[] => [
  new Option('--json <file>', 'write the result document to this file as well'),
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
  for (const name of ['json', ...FORMAT_NAMES] as const) {
    const path = flags[name]
    if (path !== undefined) await checkOutputFile(flagName(name), path)
  }
}

/** @returns a file for each flag, with how the document is written there */
export const reportTargets = (flags: ReportFlags): DocumentTarget[] => {
  const { json, origin = USUAL_ORIGIN } = flags
  return [
    ...(json === undefined ? [] : [{ path: json, render: documentText }]),
    ...FORMAT_NAMES.flatMap(name => {
      const path = flags[name]
      const render = (document: ResultDocument): string =>
        FORMATS[name].render(document, { origin })
      return path === undefined ? [] : [{ path, render }]
    }),
  ]
}

/** The flags as words, to ask for the same again. */
export const reportWords = (flags: ReportFlags): string[] =>
  (['json', ...FORMAT_NAMES, 'origin'] as const).flatMap(name => {
    const value = flags[name]
    return value === undefined ? [] : [flagName(name), value]
  })

export const documentText = (document: ResultDocument): string =>
  `${JSON.stringify(document, null, 2)}\n`
