import { UsageError } from '../base/errors.ts'
import type { CaseOutcome } from '../judge/case-outcome.ts'
import { observeEnding } from '../judge/observed-ending.ts'
import type { Board } from '../board/index.ts'
import type { Machine } from '../machine/machine.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import { caseOf } from '../scenario/build.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import { bootableScenario } from './bootable.ts'
import {
  type BootAll,
  type Subject,
  type Target,
  endingByModel,
  isSameTarget,
  minimiseByBoots,
  minimiseOnModel,
} from './minimise.ts'

/** A scenario that got smaller, and how it ends. */
export interface Smallest {
  readonly input: CellInput
  readonly target: Target & { readonly errno?: number | null }
  /** What was done, for people. */
  readonly how: string
}

/** The model first; boots prove what it says, and take its place if need be. */
export const minimise = async (
  input: CellInput,
  bench: Bench,
  limits: { readonly width: number; readonly budget: number },
): Promise<Smallest> => {
  const { subject, signal, bootAll } = bench
  const [target] = await bootAll([input])
  if (!target)
    throw new UsageError(
      'NO_OUTCOME',
      'the kernel panics or hangs on this scenario, so there is no TDX outcome to preserve: run it with tdxrig run to see why',
    )
  const modelled = endingByModel(input, subject)
  if (modelled && isSameTarget(target, modelled)) {
    const small = await minimiseOnModel({
      input,
      target: modelled,
      subject,
      signal,
    })
    const [ending] = await bootAll([small])
    if (isSameTarget(target, ending))
      return {
        input: small,
        target: { ...target, errno: modelled.errno },
        how: `by the model, proven by ${bench.boots} boots`,
      }
  }
  const { board } = subject
  return {
    input: await minimiseByBoots({ input, target, board, bootAll, limits }),
    target,
    how: `by ${bench.boots} boots: the model does not say the same as the kernel`,
  }
}

export interface BenchTools {
  readonly machine: Machine
  readonly board: Board
  readonly kernel: PreparedKernel
  readonly workspace: Workspace
  /** Told before each round, how many boots there were. */
  readonly onBoots: (count: number) => void
  readonly signal: AbortSignal
}

/** Boots scenarios, and tells how TDX ended. */
export class Bench {
  boots = 0
  readonly subject: Subject
  readonly signal: AbortSignal
  readonly #tools: BenchTools

  constructor(tools: BenchTools) {
    const { kernel, board, signal } = tools
    this.#tools = tools
    this.signal = signal
    this.subject = { board, kernel }
  }

  readonly bootAll: BootAll = async candidates => {
    const { machine, kernel, workspace, onBoots, signal } = this.#tools
    if (signal.aborted) return []
    const cases = candidates.map((input, i) => this.#caseOf(input, i))
    await using part = await workspace.part(`boots-${this.boots}`)
    this.boots += cases.length
    onBoots(this.boots)
    const outcomes = await runCases({
      cases,
      machine,
      signal,
      workspace: part,
      jobs: cases.length,
      kernels: new Map([[kernel.name, kernel]]),
    })
    return cases.map(({ id }) =>
      targetOf(outcomes.find(({ item }) => item.id === id)),
    )
  }

  #caseOf(input: CellInput, number: number): Case {
    const { kernel, board } = this.#tools
    return caseOf(bootableScenario(input, board)!, {
      id: `minimise/${number}@${kernel.name}`,
      scenario: 'minimise',
      kernel: kernel.name,
    })
  }
}

/** How TDX would have ended is unknown when the kernel panicked. */
const targetOf = (outcome: CaseOutcome | undefined): Target | undefined => {
  if (outcome?.kind !== 'judged') return undefined
  const { record, facts } = outcome.evidence
  const panicked = facts.incidents.some(
    ({ kind }) => kind === 'panic' || kind === 'oops',
  )
  if (panicked) return undefined
  const { outcome: how, stage } = observeEnding(facts, record)
  return { outcome: how, stage }
}
