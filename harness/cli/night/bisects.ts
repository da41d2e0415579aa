import { join } from 'node:path'
import { messageOf } from '../../base/errors.ts'
import { shellLine } from '../../base/shell.ts'
import { bisectCommand } from '../bisect-command.ts'
import { programName } from '../program-name.ts'
import type { Log } from './log.ts'

/** A search for the change that makes a case fail. */
export interface Bisected {
  readonly id: string
  readonly scenario: string
  readonly tree: string
  readonly good: string
  readonly bad: string
  /** The recipe whose configuration is used. */
  readonly kernel: string
}

/** The case as any kernel has it: `group/scenario[cell]`. */
const cellOf = ({ id }: Bisected): string => id.split('@')[0]!

/** The command that searches. */
export const bisectLine = (one: Bisected): string =>
  shellLine([
    programName(),
    'bisect',
    one.scenario,
    '--tree',
    one.tree,
    '--good',
    one.good,
    '--bad',
    one.bad,
    '--kernel',
    one.kernel,
    '--filter',
    cellOf(one),
  ])

/** One after the other: each builds kernels with all CPUs. */
export const bisectNew = async (
  searches: readonly Bisected[],
  {
    folder,
    signal,
    log,
  }: {
    readonly folder: string
    readonly signal: AbortSignal
    readonly log: Log
  },
): Promise<void> => {
  for (const [i, one] of searches.entries()) {
    signal.throwIfAborted()
    log('bisect', `${one.id}: looking for the change`)
    const { scenario, tree, good, bad, kernel } = one
    try {
      await bisectCommand(scenario, {
        tree,
        good,
        bad,
        kernel,
        filter: [cellOf(one)],
        confidence: 0.99,
        accel: 'auto',
        out: join(folder, `bisect-${i + 1}`),
      })
    } catch (error) {
      log('bisect', `${one.id}: ${messageOf(error)}`)
    }
  }
}
