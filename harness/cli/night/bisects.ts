import { join } from 'node:path'
import { messageOf } from '../../base/errors.ts'
import { bisectCommand } from '../bisect-command.ts'
import type { Log } from './log.ts'

/** A search for the change that makes a case fail. */
export interface Bisected {
  readonly id: string
  /** Of the command line, behind `bisect`. */
  readonly words: readonly string[]
  readonly line: string
}

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
  for (const [i, { id, words }] of searches.entries()) {
    signal.throwIfAborted()
    log('bisect', `${id}: looking for the change`)
    const [scenario, ...flags] = words
    const value = (name: string): string => flags[flags.indexOf(name) + 1] ?? ''
    try {
      await bisectCommand(scenario, {
        tree: value('--tree'),
        good: value('--good'),
        bad: value('--bad'),
        kernel: value('--kernel'),
        filter: [value('--filter')],
        confidence: 0.99,
        accel: 'auto',
        out: join(folder, `bisect-${i + 1}`),
      })
    } catch (error) {
      log('bisect', `${id}: ${messageOf(error)}`)
    }
  }
}
