import type { Command } from 'commander'
import type { Bind } from './bind.ts'

/** Adds `kernel` and its verbs. */
export const addKernelCommands = (root: Command, bind: Bind): void => {
  const kernel = root
    .command('kernel')
    .description('list, build and check kernels')
  kernel
    .command('list')
    .description('list the recipes and whether they are built')
    .action(
      bind(async () => (await import('./kernel-command.ts')).kernelListCommand),
    )
  kernel
    .command('build')
    .description('build kernels that are not in the cache')
    .argument('[names...]', 'recipes; default: all')
    .action(
      bind(
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
      bind(async () => (await import('./check-command.ts')).kernelCheckCommand),
    )
  kernel
    .command('fetch')
    .description(
      'fetch the newest source of recipes that name a suite of Debian',
    )
    .argument('[names...]', 'recipes (default: all but those on request)')
    .action(
      bind(
        async () => (await import('./kernel-command.ts')).kernelFetchCommand,
      ),
    )
  kernel
    .command('packages')
    .description('list the Debian packages that the recipes need')
    .action(
      bind(
        async () => (await import('./kernel-command.ts')).kernelPackagesCommand,
      ),
    )
}
