import { UsageError } from '../base/errors.ts'
import { checkOutputFile, writeWhole } from '../base/output.ts'
import { type JudgedOutcome, verdictOf } from '../judge/case-outcome.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import { prettyReporter } from '../report/pretty.ts'
import { type Reproduce, tellAll } from '../report/reporter.ts'
import { tapReporter } from '../report/tap.ts'
import { rejudge, rerunLine } from '../run/rejudge.ts'
import { exitCode } from './exit-code.ts'
import { programName } from './program-name.ts'
import { type RunFlags, flagName } from './run-flags.ts'
import { screenFor } from './screen.ts'
import { VERSION } from './version.ts'

/** What makes no sense without a boot. */
const BOOTING = [
  'kernel',
  'kernelBuild',
  'filter',
  'jobs',
  'out',
  'bundle',
  'resume',
] as const

/** `tdxrig run --rejudge`: archives of failed cases, judged again offline. */
export const rejudgeBundles = async (
  paths: readonly string[],
  flags: RunFlags,
): Promise<number> => {
  const ignored = BOOTING.filter(name => flags[name] !== undefined)
  if (ignored.length > 0)
    throw new UsageError(
      'REJUDGE',
      `--rejudge boots nothing: it cannot be combined with ${ignored.map(flagName).join(', ')}`,
    )
  if (paths.length === 0)
    throw new UsageError('REJUDGE', '--rejudge: expected archives of --bundle')
  if (flags.json !== undefined) await checkOutputFile('--json', flags.json)
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
  const write = (text: string): void => {
    process.stdout.write(text)
  }
  const reporter = tellAll([
    flags.reporter === 'tap'
      ? tapReporter(write, reproduce)
      : prettyReporter(write, {
          screen: screenFor(flags),
          folder: '.',
          reproduce,
        }),
  ])
  const verdicts = outcomes.map(verdictOf)
  await reporter.start(head)
  for (const outcome of outcomes) await reporter.case(outcome)
  const end = {
    durationMs: performance.now() - begin,
    interrupted: false,
    resumed: 0,
    verdicts,
  }
  await reporter.end(end)
  if (flags.json !== undefined) {
    const cases = outcomes.map(outcome => caseDocument(outcome, reproduce))
    const document = resultDocument(head, end, cases)
    await writeWhole(flags.json, `${JSON.stringify(document, null, 2)}\n`)
  }
  return exitCode(verdicts, false)
}

const kernelsOf = (
  outcomes: readonly JudgedOutcome[],
): { name: string; key: string }[] => [
  ...new Map(
    outcomes.map(({ kernel: { name, key } }) => [key, { name, key }]),
  ).values(),
]
