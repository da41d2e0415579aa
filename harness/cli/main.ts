#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import {
  accelOption,
  asciiOption,
  hostsOption,
  collect,
  counted,
  duration,
  kernelBuildOption,
  kernelOption,
  natural,
  positive,
  size,
} from './options.ts'
import { addHistoryCommands } from './history-commands.ts'
import { historyOption } from './history-place.ts'
import { reportOptions } from './report-files.ts'
import { reporterOption } from './run-flags.ts'
import { addBisectCommand } from './bisect-options.ts'
import { INTERRUPTED, wasInterrupted } from './interrupt.ts'
import { VERSION } from './version.ts'

/** The only place that exits or prints errors for people. */

/** Sets the exit code a command returns. Commands are loaded when they run. */
const command =
  <A extends unknown[]>(load: () => Promise<(...args: A) => Promise<number>>) =>
  async (...args: A): Promise<void> => {
    const run = await load()
    const code = await run(...args)
    process.exitCode = wasInterrupted() ? INTERRUPTED : code
  }

const program = (): Command => {
  const root = new Command('tdxrig')
    .description(
      'Boots Linux kernels against a model of the TDX module and judges which memory they hand to it.',
    )
    .version(VERSION)
    .showHelpAfterError('(see tdxrig --help)')
    .exitOverride()
  const run = root
    .command('run')
    .description('boot scenarios and judge the results')
    .argument(
      '[paths...]',
      'scenario files and folders; default: those that ship',
    )
    .addOption(kernelOption())
    .addOption(kernelBuildOption())
    .option(
      '--filter <text>',
      'only cases with this text in their id (repeatable)',
      collect,
    )
    .option(
      '--host <name>',
      'boot on this physical host, or on all with this label, instead of QEMU (repeatable)',
      collect,
    )
    .addOption(hostsOption())
    .option(
      '--dry-run',
      'with --host: print every command that would be run for the hosts, and run none',
    )
    .option(
      '--jobs <n>',
      'cases at a time; default: one for each CPU',
      positive,
    )
    .option('--repeat <n>', 'boot each case so many times', positive)
    .option(
      '--retries <n>',
      'boot a case that does not pass again, so many times',
      positive,
    )
    .option('--quiet', 'print only what does not pass, and the summary')
    .option(
      '--out <folder>',
      'where results go; default: a new folder below results/',
    )
    .option(
      '--store <label>',
      'keep the result in the history, under this label',
    )
    .option('--resume <folder>', 'continue the interrupted run in this folder')
    .option(
      '--bundle <folder>',
      'write an archive of each case that does not pass to this folder',
    )
    .option(
      '--rejudge',
      'the paths are archives written by --bundle: judge them again without booting',
    )
    .addOption(reporterOption())
    .addOption(asciiOption())
    .addOption(accelOption())
    .action(command(async () => (await import('./run-command.ts')).runCommand))
  const report = root
    .command('report')
    .description('print a result document again, or write it in other forms')
    .argument('<result>', 'result.json, or the folder of a run')
    .addOption(reporterOption())
    .addOption(asciiOption())
    .action(
      command(async () => (await import('./report-command.ts')).reportCommand),
    )
  for (const option of reportOptions()) {
    run.addOption(option)
    report.addOption(option)
  }
  root
    .command('compare')
    .description(
      'what is different between two runs; exit code 1 when a case fails that did not',
    )
    .argument(
      '<old>',
      'result.json, the folder of a run, or a run of the history',
    )
    .argument('<new>', 'the same')
    .option('--json', 'print JSON')
    .addOption(historyOption())
    .action(
      command(
        async () => (await import('./compare-command.ts')).compareCommand,
      ),
    )
  addHistoryCommands(root, command)
  addBisectCommand(root, command)
  root
    .command('hosts')
    .description(
      'physical hosts: list and check them, boot them as they are, print the script they run',
    )
    .argument('<verb>', 'list, check, boot or script')
    .argument('[names...]', 'names and labels; default: all hosts')
    .addOption(hostsOption())
    .option('--out <folder>', 'boot: where it writes NAME.json; default: here')
    .action(
      command(async () => (await import('./hosts-command.ts')).hostsCommand),
    )
  root
    .command('predict')
    .description('print the layout a kernel must build, without booting')
    .argument(
      '<files...>',
      "scenario files and folders, kernels' logs, - for a log on stdin",
    )
    .option('--json', 'print JSON')
    .addOption(asciiOption())
    .action(
      command(
        async () => (await import('./predict-command.ts')).predictCommand,
      ),
    )
  root
    .command('explain')
    .description(
      'say how the TDX initialisation in a log ended, why, and what to do',
    )
    .argument(
      '<files...>',
      'dmesg, journals, serial consoles; - for stdin; bundles of failed cases',
    )
    .option('--json', 'print JSON')
    .option(
      '--html <file>',
      'write a page with the same, which explains more logs',
    )
    .addOption(asciiOption())
    .action(
      command(
        async () => (await import('./explain-command.ts')).explainCommand,
      ),
    )
  root
    .command('page')
    .description('write the page that explains logs in a browser')
    .argument('<file>', 'the HTML file')
    .action(
      command(async () => (await import('./page-command.ts')).pageCommand),
    )
  root
    .command('replay')
    .description('make a scenario with the memory of the machine in a log')
    .argument('<file>', "a kernel's log, - for stdin")
    .option('--boot <n>', 'which boot of the log; default: the last', counted)
    .option(
      '--out <file>',
      'the scenario, - for stdout; default: the name of the log, with .yaml',
    )
    .option(
      '--memory <size>',
      'the largest memory of the machine; default: as much as the host allows',
      size,
    )
    .option(
      '--with <word>',
      'a kernel parameter to try on it (repeatable)',
      collect,
    )
    .option('--run', 'boot it, and compare the outcome with the log')
    .addOption(kernelOption())
    .addOption(kernelBuildOption())
    .addOption(accelOption())
    .action(
      command(async () => (await import('./replay-command.ts')).replayCommand),
    )
  root
    .command('minimise')
    .description('make a scenario as small as possible with the same outcome')
    .argument('<scenario>', 'a scenario file')
    .option('--filter <text>', 'the cell with this text in its id', collect)
    .option(
      '--out <file>',
      'the output file; default: the name of the scenario with -minimal.yaml',
    )
    .option('--model-only', 'use the model alone, without booting')
    .option(
      '--boots <n>',
      'boots to spend where model and kernel differ',
      counted,
      200,
    )
    .option(
      '--jobs <n>',
      'boots at a time; default: one for each CPU',
      positive,
    )
    .addOption(kernelOption())
    .addOption(kernelBuildOption())
    .addOption(accelOption())
    .action(
      command(
        async () => (await import('./minimise-command.ts')).minimiseCommand,
      ),
    )
  root
    .command('fuzz')
    .description('boot random layouts and compare the kernel with the model')
    .option(
      '--seed <n>',
      'seed of the random layouts; default: a new one every time',
      natural,
    )
    .option(
      '--count <n>',
      'number of layouts; default: 200, or 20000 with --model-only',
      counted,
    )
    .option('--time <time>', 'time limit: 90s, 10m, 2h', duration)
    .option('--model-only', 'check invariants of the model, without booting')
    .option(
      '--print <n>',
      'print the layout with this number, without booting',
      natural,
    )
    .option(
      '--kernel <name>',
      'boot this kernel; default: all that ship (repeatable)',
      collect,
    )
    .addOption(kernelBuildOption())
    .option(
      '--jobs <n>',
      'boots at a time; default: one for each CPU',
      positive,
    )
    .option(
      '--out <folder>',
      'folder for scenarios of what is found; default: results/fuzz-<seed>',
    )
    .addOption(accelOption())
    .action(
      command(async () => (await import('./fuzz-command.ts')).fuzzCommand),
    )
  const kernel = root
    .command('kernel')
    .description('list, build and check kernels')
  kernel
    .command('list')
    .description('list the recipes and whether they are built')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelListCommand,
      ),
    )
  kernel
    .command('build')
    .description('build kernels that are not in the cache')
    .argument('[names...]', 'recipes; default: all')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelBuildCommand,
      ),
    )
  kernel
    .command('check')
    .description('report what tdxrig can use of a kernel')
    .argument(
      '<targets...>',
      'recipes, and paths of kernels that are built already',
    )
    .option('--json', 'print JSON')
    .action(
      command(
        async () => (await import('./check-command.ts')).kernelCheckCommand,
      ),
    )
  kernel
    .command('fetch')
    .description(
      'fetch the newest source of recipes that name a suite of Debian',
    )
    .argument('[names...]', 'recipes (default: all but those on request)')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelFetchCommand,
      ),
    )
  kernel
    .command('packages')
    .description('list the Debian packages that the recipes need')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelPackagesCommand,
      ),
    )
  root
    .command('schema')
    .description('print a JSON Schema')
    .argument('<name>', 'scenario, result or explain')
    .action(
      command(async () => (await import('./schema-command.ts')).schemaCommand),
    )
  return root
}

/** Messages name files and versions, which may hold anything. */
const lines = (text: string): string => text.split('\n').map(visible).join('\n')

/** One message for people; a stack trace only for a defect of tdxrig. */
const report = (error: unknown): number => {
  if (wasInterrupted()) return INTERRUPTED
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof RigError) {
    process.stderr.write(`tdxrig: ${lines(error.message)}\n`)
    return error.exitCode
  }
  // The surroundings: a full disk, a missing folder, no rights.
  if (systemCode(error) !== undefined) {
    process.stderr.write(`tdxrig: ${lines(messageOf(error))}\n`)
    return 3
  }
  const trace = error instanceof Error ? error.stack : String(error)
  process.stderr.write(
    `tdxrig: a defect of tdxrig itself, please report it:\n${trace ?? ''}\n`,
  )
  return 3
}

// The reader of a pipe may leave: nobody is told, nothing breaks.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return
    process.exitCode = 3
    if (stream === process.stdout)
      process.stderr.write(
        `tdxrig: cannot write the output: ${error.message}\n`,
      )
  })
}

try {
  await program().parseAsync()
} catch (error) {
  process.exitCode = report(error)
}
