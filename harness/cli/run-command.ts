import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import colors from 'picocolors'
import { UsageError, messageOf } from '../base/errors.ts'
import {
  checkOutputFile,
  checkOutputFolder,
  writeWhole,
} from '../base/output.ts'
import { projectRoot } from '../base/paths.ts'
import { visible } from '../base/text.ts'
import {
  type FolderRecipe,
  folderRecipes,
  recipeNames,
} from '../kernel/recipe.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { resultDocument } from '../report/document.ts'
import { prettyCase, prettySummary } from '../report/pretty.ts'
import type { CaseResult, ResultDocument } from '../report/schema.ts'
import { tapHeader, tapPoint } from '../report/tap.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import type { BundleHead } from '../run/bundle.ts'
import { type RunOptions, runCases } from '../run/run.ts'
import { ResultStore } from '../run/store.ts'
import { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { loadCases } from '../scenario/load.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { type Progress, progressFor } from './progress.ts'
import type { RunFlags } from './run-flags.ts'
import { exitCode, programName } from './exit-code.ts'
import { askedKernels, openRig, recipesOf } from './rig.ts'
import { VERSION } from './version.ts'

/** What came of a run; no document where it was interrupted early. */
export interface RunOutcome {
  readonly code: number
  readonly document: ResultDocument | undefined
}

/** `tdxrig run`: boots, judges, reports. @returns the exit code */
export const runCommand = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<number> => {
  if (!flags.rejudge) return (await runAndReport(paths, flags)).code
  const { rejudgeBundles } = await import('./rejudge-command.ts')
  return rejudgeBundles(paths, flags)
}

/** Boots scenarios, judges and reports. */
export const runAndReport = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<RunOutcome> => {
  const { signal } = onInterrupt()
  const built = folderRecipes(flags.kernelBuild ?? [])
  const cases = await selectCases(paths, flags, built)
  // Whatever cannot be written must be known before anything is booted.
  if (flags.json !== undefined) await checkOutputFile('--json', flags.json)
  if (flags.out !== undefined) await checkOutputFolder('--out', flags.out)
  if (flags.bundle !== undefined)
    await checkOutputFolder('--bundle', flags.bundle)
  const qemu = await findQemu()
  const started = new Date()
  const begin = performance.now()
  const progress = await progressFor(cases.length)
  await using workspace = Workspace.create()
  const bundles: string[] = []
  try {
    const { machine, kernels } = await openRig(
      await recipesOf(
        cases.map(({ kernel }) => kernel),
        built,
      ),
      qemu,
      flags.accel,
      workspace,
      progress,
      signal,
    )
    const store = await ResultStore.create(flags.out, started)
    const rig = {
      version: VERSION,
      machine: `${machine.description}, QEMU ${qemu.version}`,
    }
    const head = { rig, started: started.toISOString() }
    const results = await runCases({
      cases,
      machine,
      kernels,
      workspace,
      store,
      signal,
      again: {
        program: programName(),
        flags: flags.accel === 'auto' ? [] : ['--accel', flags.accel],
      },
      jobs: flags.jobs ?? availableParallelism(),
      events: reporting(flags.reporter, cases, store, progress),
      ...bundling(flags.bundle, workspace, head, bundles),
    })
    progress.close()
    const document = resultDocument(
      {
        ...head,
        durationMs: performance.now() - begin,
        interrupted: signal.aborted,
        kernels: kernelList(kernels),
      },
      results,
    )
    await store.writeDocument(document)
    if (flags.json !== undefined)
      await writeWhole(flags.json, `${JSON.stringify(document, null, 2)}\n`)
    conclude(document, store, flags.reporter, bundles)
    return { code: exitCode(document), document }
  } catch (error) {
    if (signal.aborted) return { code: INTERRUPTED, document: undefined }
    throw error
  } finally {
    progress.close()
  }
}

const selectCases = async (
  paths: readonly string[],
  { kernel = [], filter }: RunFlags,
  built: readonly FolderRecipe[],
): Promise<Case[]> => {
  const kernels = await recipeNames()
  const asked = await askedKernels(kernel, built)
  const all = await loadCases(paths.length > 0 ? paths : [shippedScenarios()], {
    kernels,
    onlyKernels: asked.length > 0 ? asked : undefined,
  })
  const cases = filter
    ? all.filter(({ id }) => filter.some(text => id.includes(text)))
    : all
  if (cases.length === 0)
    throw new UsageError(
      'NO_CASES',
      `none of the ${all.length} cases has ${(filter ?? []).map(text => `'${text}'`).join(' or ')} in its id`,
    )
  return cases
}

/** Relative where that is shorter, so that messages can be read. */
const shippedScenarios = (): string => {
  const path = join(projectRoot(), 'scenarios')
  const near = relative(process.cwd(), path)
  return near.startsWith('..') || near === '' ? path : near
}

const reporting = (
  reporter: RunFlags['reporter'],
  cases: readonly Case[],
  store: ResultStore,
  progress: Progress,
): {
  onStart: (item: Case) => void
  onResult: (item: Case, result: CaseResult) => void
} => {
  let number = 0
  if (reporter === 'tap') process.stdout.write(tapHeader(cases.length))
  return {
    onStart: ({ id }) => {
      progress.started(id)
    },
    onResult: ({ id }, result) => {
      progress.finished(id)
      number++
      progress.around(() => {
        process.stdout.write(
          reporter === 'tap'
            ? tapPoint(result, number)
            : `${prettyCase(result, relative(process.cwd(), store.path) || '.', colors)}\n`,
        )
      })
    },
  }
}

/** An archive for each case that does not pass. */
const bundling = (
  folder: string | undefined,
  workspace: Workspace,
  head: BundleHead,
  bundles: string[],
): Pick<RunOptions, 'onFailure'> =>
  folder === undefined
    ? {}
    : {
        onFailure: async failure => {
          try {
            // Archives cost start-up time, and few runs need them.
            const { writeBundle } = await import('../run/bundle.ts')
            const work = await workspace.directory('bundles')
            const path = await writeBundle(folder, work, head, failure)
            bundles.push(`bundle: ${relative(process.cwd(), path)}`)
          } catch (error) {
            // The verdict is worth more than its archive.
            bundles.push(`no bundle of ${failure.item.id}: ${messageOf(error)}`)
          }
        },
      }

const conclude = (
  document: ResultDocument,
  store: ResultStore,
  reporter: RunFlags['reporter'],
  bundles: readonly string[],
): void => {
  if (reporter === 'tap') {
    if (document.interrupted) process.stdout.write('Bail out! interrupted\n')
    return
  }
  process.stdout.write(
    `\n${prettySummary(document, colors)}\nresults: ${relative(process.cwd(), store.document)}\n${bundles.map(line => `${visible(line)}\n`).join('')}`,
  )
}

const kernelList = (
  kernels: ReadonlyMap<string, PreparedKernel>,
): ResultDocument['kernels'] =>
  [...kernels.values()].map(({ name, built }) => ({ name, key: built.key }))
