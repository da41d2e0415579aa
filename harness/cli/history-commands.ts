import type { Command } from 'commander'
import type { Bind } from './bind.ts'
import { historyOption } from './history-option.ts'
import { age, asciiOption, counted } from './options.ts'
import { reporterOption } from './run-flags.ts'

/** Runs of the last month, where one runs a night. */
const WINDOW = 30
const LISTED = 20

/** Adds `history` and its verbs. */
export const addHistoryCommands = (root: Command, bind: Bind): void => {
  const history = root
    .command('history')
    .description('runs that were kept: list, show, name and compare them')
  const verb = (name: string, description: string): Command =>
    history.command(name).description(description).addOption(historyOption())
  const windowed = (name: string, description: string): Command =>
    verb(name, description)
      .option('--label <text>', 'only runs with this label')
      .option('--runs <n>', 'the newest runs to look at', counted, WINDOW)
      .option('--json', 'print JSON')
  verb('add', 'keep results')
    .argument('<results...>', 'result.json files, or folders of runs')
    .option(
      '--label <text>',
      'what is tested: runs of one label are compared',
      'default',
    )
    .action(bind(async () => (await load()).historyAddCommand))
  verb('list', 'list runs, the newest first')
    .option('--label <text>', 'only runs with this label')
    .option('--limit <n>', 'how many', counted, LISTED)
    .option('--json', 'print JSON')
    .action(bind(async () => (await load()).historyListCommand))
  verb('show', 'print a run')
    .argument('<run>', 'its number, latest, or the name of a baseline')
    .option('--json', 'print the result document')
    .addOption(reporterOption())
    .addOption(asciiOption())
    .action(bind(async () => (await load()).historyShowCommand))
  verb('baseline', 'give a run a name, to compare others with it')
    .argument('<name>')
    .argument('[run]', 'its number; default: the newest')
    .action(bind(async () => (await load()).historyBaselineCommand))
  windowed('flaky', 'cases that did not always end in the same way').action(
    bind(async () => (await load()).historyFlakyCommand),
  )
  windowed('trend', 'time and headroom over the runs; exit code 1 on an alarm')
    .argument('[text]', 'show the cases with this text in their id')
    .action(bind(async () => (await load()).historyTrendCommand))
  verb('prune', 'throw runs away; baselines stay')
    .option('--keep <n>', 'keep so many runs of each label', counted)
    .option('--older <age>', 'throw away only what is older: 90d, 36h', age)
    .action(bind(async () => (await load()).historyPruneCommand))
}

const load = () => import('./history-command.ts')
