import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { RigError, messageOf } from '../base/errors.ts'
import type { Board } from '../board/index.ts'
import { verdictOf } from '../judge/case-outcome.ts'
import type { BuiltKernel } from '../kernel/cache.ts'
import { kernelDirectory } from '../kernel/cache.ts'
import type { Machine } from '../machine/machine.ts'
import { caseDocument } from '../report/document.ts'
import type { Reproduce } from '../report/reporter.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import {
  buildScenario,
  caseOf,
  isRefused,
  problemTexts,
} from '../scenario/build.ts'
import type { AttemptKey, Begun, Finished } from './attempts.ts'

/** A boot that was begun. */
export interface BootOrder {
  readonly attempt: AttemptKey
  readonly begun: Begun
}

/** Something that boots cases. */
export interface Bench {
  /**
   * Boots a cell. A fault of the rig is a result as well: the verdict `error`.
   *
   * @throws when the signal came: nothing is known then
   */
  readonly boot: (order: BootOrder, signal: AbortSignal) => Promise<Finished>
}

export interface BootOptions {
  readonly order: BootOrder
  /** Its name in the results. */
  readonly name: string
  readonly board: Board
  readonly machine: Machine
  readonly kernel: PreparedKernel
  readonly workspace: Workspace
  readonly signal: AbortSignal
  readonly reproduce: Reproduce
}

const pack = promisify(gzip)

/** A cell as it was planned, booted and judged once. */
export const bootCell = async ({
  order: { attempt, begun },
  name,
  board,
  machine,
  kernel,
  workspace,
  signal,
  reproduce,
}: BootOptions): Promise<Finished> => {
  const built = buildScenario(JSON.parse(begun.input), board)
  if (isRefused(built))
    return rigFault(
      name,
      `the cell cannot be built on the board ${board.id}: ${problemTexts(built).join('; ')}`,
    )
  const item = caseOf(built, {
    id: begun.id,
    scenario: begun.scenario,
    kernel: begun.kernel,
  })
  await using part = await workspace.part(
    `${attempt.night}-${attempt.cell}-${attempt.number}`,
  )
  let console: Buffer | undefined
  const [outcome] = await runCases({
    cases: [item],
    machine,
    kernels: new Map([[begun.kernel, { ...kernel, name: begun.kernel }]]),
    workspace: part,
    jobs: 1,
    signal,
    keepConsole: async (_, { witnesses }) => {
      if (witnesses.console) console = await readFile(witnesses.console.path)
      return null
    },
  })
  signal.throwIfAborted()
  if (!outcome) throw new TypeError('a case that was not interrupted has ended')
  const verdict = verdictOf(outcome)
  const result = caseDocument(outcome, reproduce)
  return {
    verdict,
    machine: name,
    totalMs: result.timing.totalMs,
    message: result.reasons[0]?.message ?? null,
    body: await pack(JSON.stringify(result)),
    console:
      console === undefined || verdict === 'pass' ? null : await pack(console),
  }
}

/** The rig failed before there was a case. */
export const rigFault = (machine: string, message: string): Finished => ({
  verdict: 'error',
  machine,
  totalMs: 0,
  message,
  body: null,
  console: null,
})

/** What a bench does with what was thrown. @throws what a signal has caused */
export const faultOf = (
  machine: string,
  error: unknown,
  signal: AbortSignal,
): Finished => {
  if (signal.aborted) throw error
  const isKnown = error instanceof RigError
  return rigFault(
    machine,
    isKnown
      ? error.message
      : error instanceof Error
        ? (error.stack ?? error.message)
        : messageOf(error),
  )
}

/**
 * How a case of a night is run again: a kernel that no recipe of this name
 * builds is named by where it lies in the cache.
 */
export const reproduceNight =
  (
    reproduce: Reproduce,
    { name, key }: Pick<BuiltKernel, 'name' | 'key'>,
    isRecipe: boolean,
  ): Reproduce =>
  ({ item, kernel }) =>
    isRecipe
      ? reproduce({ item, kernel })
      : reproduce({
          item: { ...item, id: item.id.split('@')[0]! },
          kernel: { ...kernel, build: kernelDirectory(name, key) },
        })
