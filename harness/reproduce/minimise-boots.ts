import { UsageError } from '../base/errors.ts'
import type { PredictionOptions } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import type { CaseResult } from '../report/schema.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import { scenarioOf } from './bootable.ts'
import {
  type BootAll,
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
  const [target] = await bench.bootAll([input])
  if (!target)
    throw new UsageError(
      'NO_OUTCOME',
      'the kernel dies on this scenario, or its boot came to no end; what is kept while it gets smaller is how TDX ends: see what happens with tdxrig run',
    )
  const modelled = endingByModel(input, bench.options)
  if (modelled && isSameTarget(target, modelled)) {
    const small = await minimiseOnModel(
      input,
      modelled,
      bench.options,
      bench.signal,
    )
    const [ending] = await bench.bootAll([small])
    if (isSameTarget(target, ending))
      return {
        input: small,
        target: { ...target, errno: modelled.errno },
        how: `by the model, proven by ${bench.boots} boots`,
      }
  }
  const small = await minimiseByBoots(input, target, bench.bootAll, limits)
  return {
    input: small,
    target,
    how: `by ${bench.boots} boots: the model does not say the same as the kernel`,
  }
}

/** Boots scenarios, and tells how TDX ended. */
export class Bench {
  boots = 0
  readonly options: PredictionOptions
  readonly signal: AbortSignal
  readonly #tools: BenchTools

  constructor(tools: BenchTools) {
    const { kernel, signal } = tools
    this.#tools = tools
    this.signal = signal
    this.options = {
      series: kernel.series,
      failsRegions: kernel.failsRegions,
      kernelImage: kernel.kernelRange,
    }
  }

  readonly bootAll: BootAll = async candidates => {
    const { machine, kernel, workspace, onBoots, signal } = this.#tools
    if (signal.aborted) return []
    const cases = candidates.map((input, i) => caseOf(input, kernel.name, i))
    await using part = await workspace.part(`boots-${this.boots}`)
    this.boots += cases.length
    onBoots(this.boots)
    const results = await runCases({
      cases,
      machine,
      signal,
      workspace: part,
      jobs: cases.length,
      kernels: new Map([[kernel.name, kernel]]),
      again: { program: 'tdxrig', flags: [] },
      store: {
        keepConsole: (_, record) => Promise.resolve(record.consolePath),
      },
      events: { onStart: () => undefined, onResult: () => undefined },
    })
    return cases.map(({ id }) => {
      const result = results.find(one => one.id === id)
      const tdx = result?.tdx
      // Of a kernel that died nobody knows how TDX would have ended.
      return tdx && !hasDied(result)
        ? { outcome: tdx.outcome, stage: tdx.stage }
        : undefined
    })
  }
}

const hasDied = ({ incidents }: CaseResult): boolean =>
  incidents.some(({ kind }) => kind === 'panic' || kind === 'oops')

export interface BenchTools {
  readonly machine: Machine
  readonly kernel: PreparedKernel
  readonly workspace: Workspace
  /** Told before each round, how many boots there were. */
  readonly onBoots: (count: number) => void
  readonly signal: AbortSignal
}

const caseOf = (input: CellInput, kernel: string, number: number): Case => ({
  input,
  id: `minimise/${number}@${kernel}`,
  scenario: 'minimise',
  kernel,
  ...scenarioOf(input)!.body,
})
