import type { Command } from 'commander'
import { UsageError } from '../../base/errors.ts'
import { recipeNames } from '../../kernel/recipe.ts'
import { commandTree } from '../command-tree.ts'
import { SHELLS, type Shell } from '../words.ts'
import { bashCompletion } from './bash.ts'
import { fishCompletion } from './fish.ts'
import type { Completed } from './script.ts'
import { zshCompletion } from './zsh.ts'

const SCRIPTS: Readonly<Record<Shell, (completed: Completed) => string>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

/** `tdxrig completion SHELL`: a script made of the commands that there are. */
export const completionCommand = async (
  shell: string,
  _flags: object,
  { parent }: Command,
): Promise<number> => {
  const known = SHELLS.find(name => name === shell)
  if (!known)
    throw new UsageError(
      'SHELL',
      `expected one of ${SHELLS.join(', ')}, found '${shell}'`,
    )
  if (!parent) throw new TypeError('it is a command of a program')
  process.stdout.write(
    SCRIPTS[known]({
      root: commandTree(parent),
      kernels: await recipeNames(),
    }),
  )
  return 0
}
