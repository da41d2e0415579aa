import type { Command } from 'commander'
import { DEFAULT_KERNEL } from '../kernel/default-kernel.ts'
import type { Bind } from './bind.ts'
import { accelOption, collect, positive, share } from './options.ts'

/** Adds `bisect`. */
export const addBisectCommand = (root: Command, bind: Bind): void => {
  root
    .command('bisect')
    .description('find the commit, or the patch, that makes a scenario fail')
    .argument('[scenario]', 'a scenario file that fails')
    .option('--tree <dir>', 'a git repository with a kernel')
    .option('--good <ref>', 'a commit of it that passes')
    .option('--bad <ref>', 'a commit of it that fails')
    .option(
      '--patches [file]',
      'instead of commits, the patches of a file or an mbox on the kernel; without a file, its own',
    )
    .option(
      '--kernel <name>',
      'the recipe with configuration and source',
      DEFAULT_KERNEL,
    )
    .option(
      '--filter <text>',
      'only cases with this text in their id (repeatable)',
      collect,
    )
    .option(
      '--confidence <share>',
      'how sure a verdict of a fault that comes and goes must be',
      share,
      0.99,
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
    .option('--resume <folder>', 'continue the bisect in this folder')
    .addOption(accelOption())
    .action(
      bind(async () => (await import('./bisect-command.ts')).bisectCommand),
    )
}
