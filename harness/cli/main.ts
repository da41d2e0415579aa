#!/usr/bin/env node
import {
  Command,
  CommanderError,
  InvalidArgumentError,
  Option,
} from 'commander'
import { RigError, messageOf, systemCode } from '../base/errors.ts'
import { VERSION } from './version.ts'

/** The only place that exits or prints errors for people. */

const positive = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1 || value > 1024)
    throw new InvalidArgumentError('expected a whole number from 1 to 1024')
  return value
}

/** Seeds and numbers of layouts: up to what 32 bits hold. */
const natural = (text: string): number => {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value >= 2 ** 31)
    throw new InvalidArgumentError(
      `expected a whole number from 0 to ${2 ** 31 - 1}`,
    )
  return value
}

const counted = (text: string): number => {
  if (natural(text) === 0)
    throw new InvalidArgumentError('expected a whole number from 1')
  return natural(text)
}

/** `90`, `90s`, `10m`, `2h`; becomes seconds. */
const duration = (text: string): number => {
  const [, value, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? []
  if (value === undefined || Number(value) === 0)
    throw new InvalidArgumentError('expected a time such as 90s, 10m or 2h')
  return Number(value) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
}

const collect = (value: string, before: readonly string[] = []): string[] => [
  ...before,
  value,
]

/** Sets the exit code a command returns. Commands are loaded when they run. */
const command =
  <A extends unknown[]>(load: () => Promise<(...args: A) => Promise<number>>) =>
  async (...args: A): Promise<void> => {
    const run = await load()
    process.exitCode = await run(...args)
  }

const kernelBuildOption = (): Option =>
  new Option(
    '--kernel-build <folder>',
    'boot the kernel that was built in this folder (repeatable)',
  ).argParser(collect)

const accelOption = (): Option =>
  new Option(
    '--accel <name>',
    'how guests are run; auto proves KVM before it is used',
  )
    .choices(['auto', 'tcg', 'kvm'])
    .default('auto')

const program = (): Command => {
  const root = new Command('tdxrig')
    .description(
      'Boots Linux kernels against a model of the TDX module and judges which memory they hand to it.',
    )
    .version(VERSION)
    .showHelpAfterError('(see tdxrig --help)')
    .exitOverride()
  root
    .command('run')
    .description('boot and judge scenarios')
    .argument(
      '[paths...]',
      'scenario files and folders; default: those that ship',
    )
    .option(
      '--kernel <name>',
      'boot this kernel instead of those the scenarios name (repeatable)',
      collect,
    )
    .addOption(kernelBuildOption())
    .option(
      '--filter <text>',
      'only cases with this text in their id (repeatable)',
      collect,
    )
    .option(
      '--jobs <n>',
      'cases at a time; default: one for each CPU',
      positive,
    )
    .option(
      '--out <folder>',
      'where results go; default: a new folder below results/',
    )
    .option('--json <file>', 'write the result document to this file as well')
    .addOption(
      new Option('--reporter <name>', 'what is printed')
        .choices(['pretty', 'tap'])
        .default('pretty'),
    )
    .addOption(accelOption())
    .action(command(async () => (await import('./run-command.ts')).runCommand))
  root
    .command('predict')
    .description('the layout a kernel must build, without booting')
    .argument(
      '<files...>',
      "scenario files and folders, kernels' logs, - for a log on stdin",
    )
    .option('--json', 'print JSON')
    .action(
      command(
        async () => (await import('./predict-command.ts')).predictCommand,
      ),
    )
  root
    .command('fuzz')
    .description('random layouts, model against kernel')
    .option(
      '--seed <n>',
      'the layouts to make; default: others every time',
      natural,
    )
    .option(
      '--count <n>',
      'how many; default: 200, without booting 20000',
      counted,
    )
    .option('--time <time>', 'for how long: 90s, 10m, 2h', duration)
    .option('--model-only', 'check the model against itself, boot nothing')
    .option(
      '--print <n>',
      'print the layout with this number, boot nothing',
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
      'where scenarios of what is found go; default: results/fuzz-<seed>',
    )
    .addOption(accelOption())
    .action(
      command(async () => (await import('./fuzz-command.ts')).fuzzCommand),
    )
  const kernel = root.command('kernel').description('the kernels there are')
  kernel
    .command('list')
    .description('recipes, and whether they are built')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelListCommand,
      ),
    )
  kernel
    .command('build')
    .description('build what is not in the cache')
    .argument('[names...]', 'recipes; default: all')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelBuildCommand,
      ),
    )
  kernel
    .command('check')
    .description('what the rig can use of a kernel')
    .argument('<targets...>', 'recipes, and folders of kernel builds')
    .option('--json', 'print JSON')
    .action(
      command(
        async () => (await import('./check-command.ts')).kernelCheckCommand,
      ),
    )
  kernel
    .command('packages')
    .description('Debian packages the recipes start from')
    .action(
      command(
        async () => (await import('./kernel-command.ts')).kernelPackagesCommand,
      ),
    )
  root
    .command('schema')
    .description('print a JSON Schema')
    .argument('<name>', 'scenario or result')
    .action(
      command(async () => (await import('./schema-command.ts')).schemaCommand),
    )
  return root
}

/** One message for people; a stack trace only for a defect of ours. */
const report = (error: unknown): number => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof RigError) {
    process.stderr.write(`tdxrig: ${error.message}\n`)
    return error.exitCode
  }
  // The surroundings: a full disk, a missing folder, no rights.
  if (systemCode(error) !== undefined) {
    process.stderr.write(`tdxrig: ${messageOf(error)}\n`)
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
