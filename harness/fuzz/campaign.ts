import { readFile } from 'node:fs/promises'
import PQueue from 'p-queue'
import { predictCase } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import type { CaseResult } from '../report/schema.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import {
  type BootableScenario,
  isBootable,
  scenarioOf,
} from '../reproduce/bootable.ts'
import { randomScenario } from './generate.ts'
import { type KnownIssue, explanation } from './known-issues.ts'
import { Random } from './random.ts'
import { shrink } from '../reproduce/shrink.ts'
import { isSameDefect, isWeak, signatureOf } from './signature.ts'

/** A boot on which model and kernel do not agree, as small as it gets. */
export interface Disagreement {
  readonly number: number
  readonly kernel: string
  /** The scenario as it was made, and what is left of it. */
  readonly found: CellInput
  readonly smallest: CellInput
  /** Of the smallest. */
  readonly result: CaseResult
  readonly console: Uint8Array
  /** What was wrong with the boot as it was found. */
  readonly signature: string
  /** Later boots with the same signature are counted, and not looked into. */
  again: number
}

export interface CampaignOptions {
  readonly seed: number
  /** Boots; Infinity until {@link until}. */
  readonly count: number
  /** performance.now() after which nothing new is begun. */
  readonly until: number
  readonly machine: Machine
  readonly kernels: ReadonlyMap<string, PreparedKernel>
  readonly workspace: Workspace
  readonly jobs: number
  readonly signal: AbortSignal
  /** Different disagreements after which it stops. */
  readonly enough: number
  /** Boots that may be spent on making one of them smaller. */
  readonly shrinkBudget: number
  /** Told after every boot. */
  readonly onBoot: (progress: CampaignReport) => void
  /** Told of every disagreement once it is small: it must not be lost. */
  readonly onFound: (disagreement: Disagreement) => Promise<void>
  /** The model; tests put another in its place. */
  readonly predict?: typeof predictCase
}

/** What came of a campaign, or of it so far. */
export interface CampaignReport {
  booted: number
  agreed: number
  /** Of these, how many the model had little to say about. */
  weak: number
  /** Numbers of the layouts that each known issue explains. */
  readonly known: Map<KnownIssue, number[]>
  readonly disagreements: Disagreement[]
  /** Boots the rig or the machine failed at. */
  readonly errors: CaseResult[]
}

/** Boots random layouts and holds each against the model. */
export const runCampaign = async (
  options: CampaignOptions,
): Promise<CampaignReport> => {
  const campaign = new Campaign(options)
  await campaign.run()
  return campaign.report
}

/** One random boot. */
interface Attempt {
  readonly number: number
  readonly scenario: BootableScenario
  readonly item: Case
}

class Campaign {
  readonly report: CampaignReport = {
    booted: 0,
    agreed: 0,
    weak: 0,
    known: new Map<KnownIssue, number[]>(),
    disagreements: [],
    errors: [],
  }
  readonly #options: CampaignOptions
  /** How often each kind of disagreement came up. */
  readonly #seen = new Map<string, number>()
  /** Boots under way, also those that make something smaller. */
  readonly #slots: PQueue
  #next = 0
  #parts = 0

  constructor(options: CampaignOptions) {
    this.#options = options
    this.#slots = new PQueue({ concurrency: options.jobs })
  }

  async run(): Promise<void> {
    const { jobs } = this.#options
    await Promise.all(Array.from({ length: jobs }, () => this.#work()))
    const { disagreements } = this.report
    disagreements.sort((a, b) => a.number - b.number)
    for (const found of disagreements)
      found.again = (this.#seen.get(found.signature) ?? 1) - 1
  }

  /** One of the workers: boots what comes next until all is done. */
  async #work(): Promise<void> {
    const { count, until, signal, enough, onBoot } = this.#options
    while (this.#next < count && this.#seen.size < enough) {
      if (signal.aborted || performance.now() >= until) return
      const attempt = this.#attempt(this.#next++)
      await this.#boot([attempt.item], async ([result]) => {
        if (!result) return
        this.report.booted++
        await this.#take(attempt, result)
      })
      onBoot(this.report)
    }
  }

  #attempt(number: number): Attempt {
    const { seed, kernels } = this.#options
    const names = [...kernels.keys()].sort()
    // A stream of its own: the scenario does not depend on which kernels exist.
    const kernel = new Random(seed, -1 - number).pick(names)
    const scenario = randomScenario(seed, number)
    return { number, scenario, item: caseOf(scenario, number, kernel) }
  }

  /** @param use looks at the results while their consoles are there */
  async #boot(
    cases: readonly Case[],
    use: (results: readonly CaseResult[]) => Promise<void>,
  ): Promise<void> {
    const { workspace, signal } = this.#options
    await using part = await workspace.part(`part-${this.#parts++}`)
    const results = await Promise.all(
      cases.map((item, i) =>
        this.#slots.add(async () =>
          this.#bootOne(item, {
            directory: inner => part.directory(`${i}-${inner}`),
          }),
        ),
      ),
    )
    if (!signal.aborted) await use(results.flat())
  }

  #bootOne(
    item: Case,
    workspace: Pick<Workspace, 'directory'>,
  ): Promise<CaseResult[]> {
    const { machine, kernels, signal, predict } = this.#options
    return runCases({
      cases: [item],
      machine,
      kernels,
      signal,
      workspace,
      jobs: 1,
      again: { program: 'tdxrig', flags: [] },
      store: {
        keepConsole: (_, record) => Promise.resolve(record.consolePath),
      },
      events: { onStart: () => undefined, onResult: () => undefined },
      ...(predict && { predict }),
    })
  }

  async #take(attempt: Attempt, result: CaseResult): Promise<void> {
    const { report } = this
    if (result.verdict === 'pass') {
      report.agreed++
      if (isWeak(result)) report.weak++
      return
    }
    if (result.verdict === 'error' || result.verdict === 'skip') {
      report.errors.push(result)
      return
    }
    const issues = this.#explain(attempt.scenario, attempt.item.kernel, result)
    if (issues.length > 0) {
      for (const issue of issues)
        report.known.set(issue, [
          ...(report.known.get(issue) ?? []),
          attempt.number,
        ])
      return
    }
    const signature = signatureOf(result)
    const before = this.#seen.get(signature) ?? 0
    this.#seen.set(signature, before + 1)
    if (before === 0) await this.#investigate(attempt, result)
  }

  #explain(
    { body }: BootableScenario,
    name: string,
    result: CaseResult,
  ): KnownIssue[] {
    const { series, kernelRange } = this.#options.kernels.get(name)!
    const { layout } = predictCase(body, { series, kernelImage: kernelRange })
    return explanation(result, series, { words: body.words, layout })
  }

  /** Makes it smaller for as long as it stays the same disagreement. */
  async #investigate(
    { number, scenario, item }: Attempt,
    result: CaseResult,
  ): Promise<void> {
    const { jobs, signal, until, shrinkBudget, onFound } = this.#options
    let found = { result, console: await consoleOf(result) }
    const smallest = await shrink(scenario.input, {
      valid: isBootable,
      failing: async candidates => {
        if (signal.aborted || performance.now() >= until) return undefined
        const failing = await this.#failing(candidates, item.kernel, result)
        found = failing?.found ?? found
        return failing?.index
      },
      width: jobs,
      budget: shrinkBudget,
    })
    const disagreement: Disagreement = {
      number,
      kernel: item.kernel,
      found: scenario.input,
      smallest,
      ...found,
      signature: signatureOf(result),
      again: 0,
    }
    this.report.disagreements.push(disagreement)
    await onFound(disagreement)
  }

  /** The first of the candidates that disagrees in the same way. */
  async #failing(
    candidates: readonly CellInput[],
    kernel: string,
    whole: CaseResult,
  ): Promise<{ index: number; found: Found } | undefined> {
    const boots = candidates.map((candidate, index) => {
      const made = scenarioOf(candidate)!
      return { made, index, item: caseOf(made, index, kernel) }
    })
    let failing: { index: number; found: Found } | undefined
    await this.#boot(
      boots.map(({ item }) => item),
      async results => {
        for (const { made, index, item } of boots) {
          const result = results.find(({ id }) => id === item.id)
          if (!result || !isSameDefect(result, whole)) continue
          if (this.#explain(made, kernel, result).length > 0) continue
          const found = { result, console: await consoleOf(result) }
          failing = { index, found }
          return
        }
      },
    )
    return failing
  }
}

type Found = Pick<Disagreement, 'result' | 'console'>

const caseOf = (
  { input, body }: BootableScenario,
  number: number,
  kernel: string,
): Case => ({
  input,
  id: `fuzz/${number}@${kernel}`,
  scenario: 'fuzz',
  kernel,
  ...body,
})

const consoleOf = async (result: CaseResult): Promise<Uint8Array> =>
  result.console === null ? new Uint8Array() : readFile(result.console)
