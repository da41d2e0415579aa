import { relative } from 'node:path'
import { UsageError, messageOf } from '../base/errors.ts'
import { checkOutputFolder } from '../base/output.ts'
import { visible } from '../base/text.ts'
import { type CaseOutcome, verdictOf } from '../judge/case-outcome.ts'
import type { Machine } from '../machine/machine.ts'
import { caseDocument } from '../report/document.ts'
import { type Reproduce, type RunHead, tellAll } from '../report/reporter.ts'
import { shellLine } from '../base/shell.ts'
import { reproduceWith } from '../report/shell.ts'
import { documentReporter } from '../run/journal.ts'
import { type MissingKernel, type RunOptions, runCases } from '../run/run.ts'
import { readResult } from '../run/result-file.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { ResultStore } from '../run/store.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { inHistory } from './history-place.ts'
import { exitCode } from './exit-code.ts'
import { INTERRUPTED } from './interrupt.ts'
import { programName } from './program-name.ts'
import type { Progress } from './progress.ts'
import { type Asked, fingerprintsOf, stillToRun } from './asked-cases.ts'
import type { RunFlags } from './run-flags.ts'
import {
  checkReportFiles,
  documentText,
  reportTargets,
  reportWords,
} from './report-files.ts'
import { stdoutReporter } from './stdout-reporter.ts'
import { VERSION } from './version.ts'

/** What came of a run; nothing where it was interrupted early. */
export interface RunOutcome {
  readonly code: number
  /** Of the cases that were booted now. */
  readonly outcomes: readonly CaseOutcome[]
}

/** Where cases are booted. */
export interface Ground {
  /** For people. */
  readonly machine: string
  readonly board: string
  readonly kernels: ReadonlyMap<string, PreparedKernel>
  readonly missing: ReadonlyMap<string, MissingKernel>
  /** Cases with what boots them; all groups at once. */
  readonly groups: (cases: readonly Case[]) => readonly Group[]
}

interface Group {
  readonly cases: readonly Case[]
  readonly machine: Machine
  readonly jobs: number
}

/** What every way of running has in common. */
export interface Stage {
  readonly workspace: Workspace
  readonly progress: Progress
  readonly signal: AbortSignal
}

/** Whatever cannot be written must be known before anything is booted. */
export const checkOutputs = async (flags: RunFlags): Promise<void> => {
  if (flags.store !== undefined) await inHistory(flags, () => Promise.resolve())
  if ((flags.repeat ?? 1) > 1 && flags.retries !== undefined)
    throw new UsageError(
      'ATTEMPTS',
      '--repeat shows what does not always pass, and --retries accepts it: expected one of them',
    )
  await checkReportFiles(flags)
  if (flags.out !== undefined) await checkOutputFolder('--out', flags.out)
  if (flags.bundle !== undefined)
    await checkOutputFolder('--bundle', flags.bundle)
}

interface Conducted {
  readonly stage: Stage
  readonly ground: () => Promise<Ground>
}

/** Boots what was asked for, judges it, and reports. */
export const conduct = async (
  asked: Asked,
  flags: RunFlags,
  { stage, ground: prepare }: Conducted,
): Promise<RunOutcome> => {
  const { workspace, progress, signal } = stage
  const { accel } = asked.request
  const started = new Date()
  const begin = performance.now()
  try {
    const ground = await prepare()
    const { kernels, missing } = ground
    const { cases, before } = stillToRun(asked, kernels)
    progress.expect(cases.length)
    const head: RunHead = {
      rig: {
        version: VERSION,
        machine: ground.machine,
        board: ground.board,
      },
      started: started.toISOString(),
      kernels: [...kernels.values()].map(({ name, key, release = null }) => ({
        name,
        key,
        release,
      })),
      cases: cases.length,
    }
    const store = await ResultStore.create(flags.resume ?? flags.out, started)
    const reproduce = reproduceWith(programName(), [
      ...(accel === 'auto' ? [] : ['--accel', accel]),
      ...asked.request.hosts.flatMap(name => ['--host', name]),
      ...(asked.request.inventory === null
        ? []
        : ['--hosts', asked.request.inventory]),
    ])
    const reporter = tellAll([
      documentReporter(
        {
          journal: store.journal,
          documents: [
            { path: store.document, render: documentText },
            ...reportTargets(flags, store.path),
          ],
        },
        {
          request: asked.request,
          fingerprints: fingerprintsOf(asked),
          before,
        },
      ),
      stdoutReporter(flags, {
        folder: relative(process.cwd(), store.path) || '.',
        around: progress.around,
      }),
    ])
    const bundles: string[] = []
    await reporter.start(head)
    const run = (group: Group): Promise<CaseOutcome[]> =>
      runCases({
        ...group,
        kernels,
        missing,
        workspace,
        signal,
        keepConsole: (id, record) => store.keepConsole(id, record),
        attempts: asked.request,
        stopAtOutcome: asked.request.stopAtOutcome,
        onStart: ({ id }) => {
          progress.started(id)
        },
        onStage: ({ id }, stage) => {
          progress.stage(id, stage)
        },
        onOutcome: (outcome, attempts) => {
          progress.finished(outcome.item.id, verdictOf(outcome))
          return reporter.case(caseDocument(outcome, reproduce, attempts))
        },
        ...(flags.bundle !== undefined &&
          bundling(flags.bundle, { workspace, head, reproduce, bundles })),
      })
    const outcomes = (await Promise.all(ground.groups(cases).map(run))).flat()
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
    // What is missing comes when the run goes on, and the whole is kept.
    if (flags.store !== undefined && !interrupted)
      await keepResult(store.document, flags.store, flags)
    if (flags.reporter !== 'tap')
      process.stdout.write(closing({ store, bundles, interrupted, flags }))
    return { code: exitCode(verdicts, interrupted), outcomes }
  } catch (error) {
    if (signal.aborted) return { code: INTERRUPTED, outcomes: [] }
    throw error
  } finally {
    progress.close()
  }
}

/** The history is told of a run when its document is there. */
const keepResult = async (
  path: string,
  label: string,
  flags: RunFlags,
): Promise<void> => {
  try {
    const { addRun } = await import('../history/store.ts')
    const { document } = await readResult(path)
    await inHistory(flags, db => addRun(db, document, label))
  } catch (error) {
    // The verdicts are worth more than their copy.
    process.stderr.write(
      `tdxrig: the result is not in the history: ${visible(messageOf(error))}; keep it with: ${shellLine([programName(), 'history', 'add', path, '--label', label])}\n`,
    )
  }
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
            ...reportWords(flags),
            ...(flags.store === undefined ? [] : ['--store', flags.store]),
            ...(flags.bundle === undefined ? [] : ['--bundle', flags.bundle]),
          ])}`,
        ]
      : []),
    ...bundles.map(visible),
    '',
  ].join('\n')
