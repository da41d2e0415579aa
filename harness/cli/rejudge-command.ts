import { UsageError } from '../base/errors.ts'
import { writeWhole } from '../base/output.ts'
import { type JudgedOutcome, verdictOf } from '../judge/case-outcome.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import { type Reproduce, tellAll } from '../report/reporter.ts'
import { stdoutReporter } from './stdout-reporter.ts'
import type { ResultDocument } from '../report/schema.ts'
import { rejudge, rerunLine } from '../run/rejudge.ts'
import { exitCode } from './exit-code.ts'
import { programName } from './program-name.ts'
import { checkReportFiles, reportTargets } from './report-files.ts'
import { type RunFlags, givenFlags } from './run-flags.ts'
import { VERSION } from './version.ts'

/** What makes no sense without a boot. */
const BOOTING = [
  'kernel',
  'kernelBuild',
  'filter',
  'jobs',
  'repeat',
  'retries',
  'stopAtOutcome',
  'shortcuts',
  'store',
  'out',
  'bundle',
  'resume',
] as const

/** `tdxrig run --rejudge`: archives of failed cases, judged again offline. */
export const rejudgeBundles = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<number> => {
  const ignored = givenFlags(flags, BOOTING)
  if (ignored.length > 0)
    throw new UsageError(
      'REJUDGE',
      `--rejudge boots nothing: it cannot be combined with ${ignored.join(', ')}`,
    )
  if (paths.length === 0)
    throw new UsageError('REJUDGE', '--rejudge: expected archives of --bundle')
  await checkReportFiles(flags)
  const started = new Date().toISOString()
  const begin = performance.now()
  // All are read before anything is said: one may be no bundle.
  const outcomes: JudgedOutcome[] = []
  for (const path of paths) outcomes.push(await rejudge(path))
  const reproduce: Reproduce = ({ item }) =>
    rerunLine(
      // Two archives may hold the same case.
      paths[outcomes.findIndex(outcome => outcome.item === item)]!,
      programName(),
      item,
    )
  const [first] = outcomes
  const head = {
    rig: {
      version: VERSION,
      machine: 'judged again, nothing was booted',
      board: first!.item.machine.board.id,
    },
    started,
    kernels: kernelsOf(outcomes),
    cases: outcomes.length,
  }
  const reporter = tellAll([
    stdoutReporter(flags, {
      folder: '.',
      around: write => {
        write()
      },
    }),
  ])
  const verdicts = outcomes.map(verdictOf)
  await reporter.start(head)
  const cases = outcomes.map(outcome => caseDocument(outcome, reproduce))
  for (const result of cases) await reporter.case(result)
  const end = {
    durationMs: performance.now() - begin,
    interrupted: false,
    resumed: 0,
    verdicts,
  }
  await reporter.end(end)
  const document = resultDocument(head, end, cases)
  for (const { path, render } of reportTargets(flags, '.'))
    await writeWhole(path, await render(document))
  return exitCode(verdicts, false)
}

const kernelsOf = (
  outcomes: readonly JudgedOutcome[],
): ResultDocument['kernels'] => [
  ...new Map(
    outcomes.map(({ kernel: { name, key }, evidence }) => [
      key,
      { name, key, release: evidence.facts.kernel },
    ]),
  ).values(),
]
