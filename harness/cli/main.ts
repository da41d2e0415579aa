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
    .option(
      '--kernel-build <folder>',
      'boot the kernel that was built in this folder (repeatable)',
      collect,
    )
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
    .addOption(
      new Option(
        '--accel <name>',
        'how guests are run; auto proves KVM before it is used',
      )
        .choices(['auto', 'tcg', 'kvm'])
        .default('auto'),
    )
    .action(command(async () => (await import('./run-command.ts')).runCommand))
  root
    .command('predict')
    .description('the layout a kernel must build, without booting')
    .argument('<files...>', 'scenario files and folders')
    .option('--json', 'print JSON')
    .action(
      command(
        async () => (await import('./predict-command.ts')).predictCommand,
      ),
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
