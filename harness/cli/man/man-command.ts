import type { Command } from 'commander'
import { commandTree } from '../command-tree.ts'
import { VERSION } from '../version.ts'
import { manualPage } from './page.ts'

/** `tdxrig man`: the manual page, made of the commands that there are. */
export const manCommand = (
  _flags: object,
  { parent }: Command,
): Promise<number> => {
  if (!parent) throw new TypeError('it is a command of a program')
  process.stdout.write(manualPage(commandTree(parent), VERSION))
  return Promise.resolve(0)
}
