import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import colors from 'picocolors'
import { messageOf } from '../base/errors.ts'
import { checkOutputFile, checkOutputFolder } from '../base/output.ts'
import { visible } from '../base/text.ts'
import { type CaseOutcome, verdictOf } from '../judge/case-outcome.ts'
import { builtRecipes } from '../kernel/recipe.ts'
import { findQemu } from '../machine/qemu/probe.ts'
import { prettyReporter } from '../report/pretty.ts'
import {
  type Reporter,
  type Reproduce,
  type RunHead,
  tellAll,
} from '../report/reporter.ts'
import { reproduceWith, shellLine } from '../report/shell.ts'
import { tapReporter } from '../report/tap.ts'
import { documentReporter } from '../run/journal.ts'
import { type MissingKernel, type RunOptions, runCases } from '../run/run.ts'
import { ResultStore } from '../run/store.ts'
import { Workspace } from '../run/workspace.ts'
import { exitCode } from './exit-code.ts'
import { INTERRUPTED, onInterrupt } from './interrupt.ts'
import { programName } from './program-name.ts'
import { type Progress, progressFor } from './progress.ts'
import { askedCases, fingerprintsOf, stillToRun } from './asked-cases.ts'
import { boardHere } from './board-here.ts'
import { neededKernels, openRig, recipesOf } from './rig.ts'
import type { RunFlags } from './run-flags.ts'
import { VERSION } from './version.ts'

/** What came of a run; nothing where it was interrupted early. */
export interface RunOutcome {
  readonly code: number
  /** Of the cases that were booted now. */
  readonly outcomes: readonly CaseOutcome[]
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
  const asked = await askedCases(paths, flags, await boardHere())
  const { accel } = asked.request
  // Whatever cannot be written must be known before anything is booted.
  if (flags.json !== undefined) await checkOutputFile('--json', flags.json)
  if (flags.out !== undefined) await checkOutputFolder('--out', flags.out)
  if (flags.bundle !== undefined)
    await checkOutputFolder('--bundle', flags.bundle)
  const qemu = await findQemu()
  const started = new Date()
  const begin = performance.now()
  await using workspace = Workspace.create()
  const progress = await progressFor(asked.cases.length)
  try {
    const missing = new Map<string, MissingKernel>()
    const built = builtRecipes(asked.request.kernelBuilds)
    const { machine, kernels } = await openRig({
      recipes: await recipesOf(
        asked.cases.map(({ kernel }) => kernel),
        built,
      ),
      needed: neededKernels(asked.request.kernels, built),
      qemu,
      accel,
      workspace,
      progress,
      signal,
      onMissing: ({ name, series }, message) =>
        missing.set(name, { series, message }),
    })
    const { cases, before } = stillToRun(asked, kernels)
    const head: RunHead = {
      rig: {
        version: VERSION,
        machine: `${machine.description}, ${qemu.description}`,
        board: qemu.board.id,
      },
      started: started.toISOString(),
      kernels: [...kernels.values()].map(({ name, key }) => ({ name, key })),
      cases: cases.length,
    }
    const store = await ResultStore.create(flags.resume ?? flags.out, started)
    const reproduce = reproduceWith(
      programName(),
      accel === 'auto' ? [] : ['--accel', accel],
    )
    const print = printer(flags, { progress, store, reproduce })
    const reporter = tellAll([
      documentReporter(
        {
          journal: store.journal,
          documents: [
            store.document,
            ...(flags.json === undefined ? [] : [flags.json]),
          ],
        },
        {
          request: asked.request,
          fingerprints: fingerprintsOf(asked),
          before,
        },
        reproduce,
      ),
      print,
    ])
    const bundles: string[] = []
    await reporter.start(head)
    const outcomes = await runCases({
      cases,
      machine,
      kernels,
      missing,
      workspace,
      signal,
      jobs: flags.jobs ?? availableParallelism(),
      keepConsole: (id, record) => store.keepConsole(id, record),
      onStart: ({ id }) => {
        progress.started(id)
      },
      onOutcome: outcome => {
        progress.finished(outcome.item.id)
        return reporter.case(outcome)
      },
      ...(flags.bundle !== undefined &&
        bundling(flags.bundle, { workspace, head, reproduce, bundles })),
    })
    progress.close()
    const interrupted = signal.aborted
    const verdicts = [
      ...before.map(({ verdict }) => verdict),
      ...outcomes.map(verdictOf),
    ]
    const durationMs = performance.now() - begin
    await reporter.end({
      durationMs,
      interrupted,
      resumed: before.length,
      verdicts,
    })
    if (flags.reporter === 'pretty')
      process.stdout.write(closing({ store, bundles, interrupted, flags }))
    return { code: exitCode(verdicts, interrupted), outcomes }
  } catch (error) {
    if (signal.aborted) return { code: INTERRUPTED, outcomes: [] }
    throw error
  } finally {
    progress.close()
  }
}

interface Printing {
  readonly progress: Progress
  readonly store: ResultStore
  readonly reproduce: Reproduce
}

/** What is shown on stdout. */
const printer = (
  { reporter }: Pick<RunFlags, 'reporter'>,
  { progress, store, reproduce }: Printing,
): Reporter => {
  const write = (text: string): void => {
    progress.around(() => {
      process.stdout.write(text)
    })
  }
  return reporter === 'tap'
    ? tapReporter(write, reproduce)
    : prettyReporter(write, {
        colors,
        folder: relative(process.cwd(), store.path) || '.',
        reproduce,
      })
}

interface Bundling {
  readonly workspace: Workspace
  readonly head: RunHead
  readonly reproduce: Reproduce
  /** Lines about what was bundled, for people. */
  readonly bundles: string[]
}

/** An archive for each case that does not pass. */
const bundling = (
  folder: string,
  { workspace, head, reproduce, bundles }: Bundling,
): Pick<RunOptions, 'onFailure'> => ({
  onFailure: async failure => {
    try {
      // Archives cost start-up time, and few runs need them.
      const { writeBundle } = await import('../run/bundle.ts')
      const work = await workspace.directory('bundles')
      const path = await writeBundle(failure, { folder, work, head, reproduce })
      bundles.push(`bundle: ${relative(process.cwd(), path)}`)
    } catch (error) {
      // The verdict is worth more than its archive.
      bundles.push(
        `no bundle of ${failure.outcome.item.id}: ${messageOf(error)}`,
      )
    }
  },
})

const closing = ({
  store,
  bundles,
  interrupted,
  flags,
}: {
  readonly store: ResultStore
  readonly bundles: readonly string[]
  readonly interrupted: boolean
  readonly flags: RunFlags
}): string =>
  [
    `results: ${relative(process.cwd(), store.document)}`,
    ...(interrupted
      ? [
          `to resume: ${shellLine([
            programName(),
            'run',
            '--resume',
            relative(process.cwd(), store.path) || '.',
            ...(flags.json === undefined ? [] : ['--json', flags.json]),
            ...(flags.bundle === undefined ? [] : ['--bundle', flags.bundle]),
          ])}`,
        ]
      : []),
    ...bundles.map(visible),
    '',
  ].join('\n')
