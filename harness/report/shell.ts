import { shellLine } from '../base/shell.ts'
import type { KernelIdentity } from '../judge/case-outcome.ts'
import type { Reproduce } from './reporter.ts'

/** How the command line names a kernel. */
const kernelFlags = ({
  name,
  build,
}: Pick<KernelIdentity, 'name' | 'build'>): string[] =>
  build === undefined ? ['--kernel', name] : ['--kernel-build', build]

/**
 * @param program tdxrig, as it is called from the current folder
 * @param flags options beside the kernel's
 */
export const reproduceWith =
  (program: string, flags: readonly string[]): Reproduce =>
  ({ item, kernel }) =>
    shellLine([
      program,
      'run',
      item.scenario,
      '--filter',
      item.id,
      ...kernelFlags(kernel),
      ...flags,
    ])
