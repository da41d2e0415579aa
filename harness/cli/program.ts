import { Argument, Command } from 'commander'
import { FORM_NAMES } from '../bootline/form.ts'
import type { Bind } from './bind.ts'
import { addBisectCommand } from './bisect-options.ts'
import { addHistoryCommands } from './history-commands.ts'
import { historyOption } from './history-option.ts'
import { addKernelCommands } from './kernel-commands.ts'
import { addNightCommands } from './night/night-commands.ts'
import {
  accelOption,
  asciiOption,
  collect,
  counted,
  duration,
  hostsOption,
  kernelBuildOption,
  kernelOption,
  natural,
  positive,
  size,
  wordArgument,
} from './options.ts'
import { reportOptions } from './report-files.ts'
import { reporterOption } from './run-flags.ts'
import { VERSION } from './version.ts'
import { HOSTS_VERBS, SCHEMA_NAMES, SHELLS } from './words.ts'

/** The whole command line; what commands do is loaded when they run. */
export const program = (bind: Bind): Command => {
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
    .option(
      '--stop-at-outcome',
      'end a boot when the kernel has initialised TDX by itself: what goes wrong later is not seen',
    )
    .option(
      '--no-shortcuts',
      'boot every guest from its firmware, and stop it at every SEAMCALL: it takes longer and shows the same',
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
    .action(bind(async () => (await import('./run-command.ts')).runCommand))
  const report = root
    .command('report')
    .description('print a result document again, or write it in other forms')
    .argument('<result>', 'result.json, or the folder of a run')
    .addOption(reporterOption())
    .addOption(asciiOption())
    .action(
      bind(async () => (await import('./report-command.ts')).reportCommand),
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
      bind(async () => (await import('./compare-command.ts')).compareCommand),
    )
  addHistoryCommands(root, bind)
  addBisectCommand(root, bind)
  addNightCommands(root, bind)
  root
    .command('hosts')
    .description(
      'physical hosts: list and check them, boot them as they are, print the script they run',
    )
    .addArgument(wordArgument('<verb>', 'what to do', HOSTS_VERBS))
    .argument('[names...]', 'names and labels; default: all hosts')
    .addOption(hostsOption())
    .option('--out <folder>', 'boot: where it writes NAME.json; default: here')
    .action(bind(async () => (await import('./hosts-command.ts')).hostsCommand))
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
      bind(async () => (await import('./predict-command.ts')).predictCommand),
    )
  root
    .command('bootline')
    .description(
      'write memory parameters for a boot loader so that they arrive, or check what its files hand to the kernel; without a form, list the forms',
    )
    .addArgument(
      new Argument('[form]', 'of the boot loader').choices([
        ...FORM_NAMES,
        'all',
      ]),
    )
    .argument('[parameters...]', 'as the kernel is to get them')
    .option(
      '--check <file>',
      'check this file, - for stdin; exit code 1 when something does not arrive (repeatable)',
      collect,
    )
    .option('--json', 'print JSON')
    .action(
      bind(async () => (await import('./bootline-command.ts')).bootlineCommand),
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
      bind(async () => (await import('./explain-command.ts')).explainCommand),
    )
  root
    .command('page')
    .description('write the page that explains logs in a browser')
    .argument('<file>', 'the HTML file')
    .action(bind(async () => (await import('./page-command.ts')).pageCommand))
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
      bind(async () => (await import('./replay-command.ts')).replayCommand),
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
      bind(async () => (await import('./minimise-command.ts')).minimiseCommand),
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
    .action(bind(async () => (await import('./fuzz-command.ts')).fuzzCommand))
  addKernelCommands(root, bind)
  root
    .command('schema')
    .description('print a JSON Schema')
    .addArgument(wordArgument('<name>', 'of what', SCHEMA_NAMES))
    .action(
      bind(async () => (await import('./schema-command.ts')).schemaCommand),
    )
  root
    .command('doctor')
    .description(
      'say what of this machine the rig can use; exit code 3 when no case can be run',
    )
    .option('--json', 'print JSON')
    .action(
      bind(
        async () => (await import('./doctor/doctor-command.ts')).doctorCommand,
      ),
    )
  root
    .command('completion')
    .description('print a script that completes command lines in a shell')
    .addArgument(wordArgument('<shell>', 'which shell', SHELLS))
    .action(
      bind(
        async () =>
          (await import('./completion/completion-command.ts'))
            .completionCommand,
      ),
    )
  root
    .command('man')
    .description('print the manual page; read it with: tdxrig man | man -l -')
    .action(bind(async () => (await import('./man/man-command.ts')).manCommand))
  return root
}
