import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { create } from 'tar'
import { ensureFolder, whole } from '../base/output.ts'
import type { BootRecord } from '../machine/machine.ts'
import { recordJson } from '../machine/replay/record-file.ts'
import { resultDocument } from '../report/document.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import type { PreparedKernel } from './kernels.ts'
import { folderName } from './store.ts'

/** Files of a bundle; a bundle has one folder with them. */
export const BUNDLED = {
  /** What it is, for the person who gets it. */
  readme: 'README.txt',
  case: 'case.json',
  /** The one cell, to be run again. */
  scenario: 'scenario.yaml',
  result: 'result.json',
  console: 'console.log',
  times: 'console.times',
  record: 'record.json',
  config: 'kernel.config',
} as const

/** A case that did not pass, with all that was seen of it. */
export interface Failure {
  readonly item: Case
  readonly kernel: PreparedKernel
  readonly result: CaseResult
  /** Undefined where nothing was booted to an end. */
  readonly record: BootRecord | undefined
}

/** Who ran it; the same in every bundle of a run. */
export type BundleHead = Pick<ResultDocument, 'rig' | 'started'>

/**
 * Writes the archive of a failure: all that somebody else needs to look at it,
 * to judge it again, and to run it again.
 *
 * @param work a private folder
 * @returns the path of the archive
 */
export const writeBundle = async (
  folder: string,
  work: string,
  head: BundleHead,
  failure: Failure,
): Promise<string> => {
  const name = folderName(failure.item.id)
  const content = join(work, name)
  await mkdir(content, { recursive: true })
  await fill(content, head, failure)
  await ensureFolder(folder)
  const target = join(folder, `${name}.tar.gz`)
  await whole(target, file =>
    create({ file, gzip: true, portable: true, cwd: work }, [name]),
  )
  await rm(content, { recursive: true })
  return target
}

const fill = async (
  folder: string,
  head: BundleHead,
  { item, kernel, result, record }: Failure,
): Promise<void> => {
  const write = (file: string, text: string): Promise<void> =>
    writeFile(join(folder, file), text)
  const document = resultDocument(
    {
      ...head,
      durationMs: result.timing.totalMs,
      interrupted: false,
      kernels: [{ name: kernel.name, key: kernel.built.key }],
    },
    [{ ...result, console: record ? BUNDLED.console : null }],
  )
  await write(BUNDLED.readme, readme(kernel, result))
  await write(BUNDLED.case, caseJson(item, kernel))
  await write(BUNDLED.result, `${JSON.stringify(document, null, 2)}\n`)
  await write(BUNDLED.scenario, scenarioFile(cellOf(item, kernel)))
  const { config } = kernel.built
  if (config !== undefined) await copyFile(config, join(folder, BUNDLED.config))
  if (!record) return
  await write(BUNDLED.record, `${recordJson(record)}\n`)
  await copyFile(record.consolePath, join(folder, BUNDLED.console))
  await copyFile(record.timesPath, join(folder, BUNDLED.times))
}

/** A kernel of somebody's own has no name elsewhere. */
const cellOf = (
  { input }: Case,
  { folder, name }: PreparedKernel,
): CellInput =>
  folder === undefined
    ? { ...input, kernels: [name] }
    : { ...input, kernels: undefined }

/** What a judge needs of case and kernel, beside the record. */
const caseJson = (item: Case, kernel: PreparedKernel): string => {
  const { id, scenario, input } = item
  const { name, series, printsRegions, failsRegions, kernelRange } = kernel
  return `${JSON.stringify(
    {
      schema: 'tdxrig.bundle/1',
      id,
      scenario,
      input,
      kernel: {
        name,
        series: series ?? null,
        printsRegions,
        failsRegions,
        range: kernelRange ?? null,
        key: kernel.built.key,
      },
    },
    null,
    2,
  )}\n`
}

const readme = (kernel: PreparedKernel, result: CaseResult): string =>
  [
    `${result.verdict}: ${result.id}`,
    ...result.reasons.map(({ message }) => `  ${message}`),
    '',
    `kernel     ${kernel.name}, built from what hashes to ${kernel.built.key}`,
    `asked      ${result.cmdline?.asked ?? result.words.join(' ')}`,
    `effective  ${result.cmdline?.effective ?? 'not known'}`,
    `machine    ${result.argv.join(' ')}`,
    '',
    `run it again:    unpack it, and in its folder: tdxrig run ${BUNDLED.scenario}${kernel.folder === undefined ? '' : ' --kernel-build FOLDER'}`,
    '                 as it was run: ' + result.reproduce,
    'judge it again:  tdxrig run --rejudge THIS.tar.gz',
    'explain it:      tdxrig explain THIS.tar.gz',
    '',
  ].join('\n')
