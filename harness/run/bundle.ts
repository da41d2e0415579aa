import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { create } from 'tar'
import { ensureFolder, whole } from '../base/output.ts'
import { recordJson } from '../machine/record-file.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import type { Reproduce, RunHead } from '../report/reporter.ts'
import type { CaseResult } from '../report/schema.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import { BUNDLED, BUNDLE_SCHEMA } from './bundle-files.ts'
import type { PreparedKernel } from './kernels.ts'
import type { Failure } from './run.ts'
import { folderName } from './store.ts'

/** What a bundle is made of. */
export interface BundleOptions {
  /** Where archives go. */
  readonly folder: string
  /** A private folder to work in. */
  readonly work: string
  readonly head: RunHead
  readonly reproduce: Reproduce
}

/**
 * Writes the archive of a failure: all that somebody else needs to look at it,
 * to judge it again, and to run it again.
 *
 * @returns the path of the archive
 */
export const writeBundle = async (
  failure: Failure,
  options: BundleOptions,
): Promise<string> => {
  const { folder, work } = options
  const name = folderName(failure.outcome.item.id)
  const content = join(work, name)
  await mkdir(content, { recursive: true })
  await fill(content, failure, options)
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
  { outcome, kernel }: Failure,
  { head, reproduce }: BundleOptions,
): Promise<void> => {
  const { item } = outcome
  const write = (file: string, text: string): Promise<void> =>
    writeFile(join(folder, file), text)
  const result = caseDocument(outcome, reproduce)
  const kept = result.console === null ? null : BUNDLED.console
  const document = resultDocument(
    { ...head, kernels: [kernelOf(kernel)] },
    { durationMs: result.timing.totalMs, interrupted: false },
    [{ ...result, console: kept }],
  )
  await write(BUNDLED.readme, readme(kernel, result))
  await write(BUNDLED.case, caseJson(item, kernel))
  await write(BUNDLED.result, `${JSON.stringify(document, null, 2)}\n`)
  await write(BUNDLED.scenario, scenarioFile(cellOf(item, kernel)))
  const { config } = kernel.built
  if (config !== undefined) await copyFile(config, join(folder, BUNDLED.config))
  if (outcome.kind !== 'judged') return
  const { record } = outcome.evidence
  await write(BUNDLED.record, `${recordJson(record)}\n`)
  const { console } = record.witnesses
  if (!console) return
  await copyFile(console.path, join(folder, BUNDLED.console))
  if (console.timesPath !== null)
    await copyFile(console.timesPath, join(folder, BUNDLED.times))
}

const kernelOf = ({
  name,
  key,
  release,
}: PreparedKernel): RunHead['kernels'][number] => ({
  name,
  key,
  release: release ?? null,
})

/** A kernel of somebody's own has no name elsewhere. */
const cellOf = (
  { input }: Case,
  { build, name }: PreparedKernel,
): CellInput => ({
  ...input,
  kernels: build === undefined ? [name] : undefined,
})

/** What a judge needs of case and kernel, beside the record. */
const caseJson = (item: Case, kernel: PreparedKernel): string => {
  const { id, scenario, input, machine } = item
  const { name, series, trigger, release, key } = kernel
  const { hostsTdx, hibernates, hasMemlist } = kernel
  const { printsRegions, failsRegions } = kernel
  return `${JSON.stringify(
    {
      schema: BUNDLE_SCHEMA,
      id,
      scenario,
      board: machine.board.id,
      input,
      kernel: {
        name,
        series: series?.name ?? null,
        release: release ?? null,
        trigger,
        hostsTdx,
        hibernates,
        hasMemlist,
        printsRegions,
        failsRegions,
        range: kernel.kernelImage ?? null,
        realMode: kernel.realMode ?? null,
        key,
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
    `kernel     ${kernel.name}, built from what hashes to ${kernel.key}`,
    `board      ${result.machine.board}`,
    `asked      ${result.cmdline?.asked ?? result.words.join(' ')}`,
    `effective  ${result.cmdline?.effective ?? 'not known'}`,
    `machine    ${result.argv.join(' ')}`,
    '',
    `run it again:    unpack it, and in its folder: tdxrig run ${BUNDLED.scenario}${kernel.build === undefined ? '' : ' --kernel-build KERNEL'}`,
    `                 as it was run: ${result.reproduce}`,
    'judge it again:  tdxrig run --rejudge THIS.tar.gz',
    'explain it:      tdxrig explain THIS.tar.gz',
    '',
  ].join('\n')
