import { readFile } from 'node:fs/promises'
import PQueue from 'p-queue'
import { predictCase } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import type {
  CaseOutcome,
  JudgedOutcome,
  UnjudgedOutcome,
} from '../judge/case-outcome.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Board } from '../board/index.ts'
import { bootableScenario } from '../reproduce/bootable.ts'
import { type BuiltScenario, caseOf } from '../scenario/build.ts'
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
  readonly outcome: JudgedOutcome
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
  readonly board: Board
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
  readonly errors: UnjudgedOutcome[]
}

/** Boots random layouts and compares each with the model. */
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
  readonly scenario: BuiltScenario
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
    const { seed, kernels, board } = this.#options
    const names = [...kernels.keys()].sort()
    // A stream of its own: the scenario does not depend on which kernels exist.
    const kernel = new Random(seed, -1 - number).pick(names)
    const scenario = randomScenario({ seed, number, board })
    return { number, scenario, item: numbered(scenario, number, kernel) }
  }

  /** @param use looks at the results while their consoles are there */
  async #boot(
    cases: readonly Case[],
    use: (outcomes: readonly CaseOutcome[]) => Promise<void>,
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
  ): Promise<CaseOutcome[]> {
    const { machine, kernels, signal, predict } = this.#options
    return runCases({
      cases: [item],
      machine,
      kernels,
      signal,
      workspace,
      jobs: 1,
      ...(predict && { predict }),
    })
  }

  async #take(attempt: Attempt, outcome: CaseOutcome): Promise<void> {
    const { report } = this
    if (outcome.kind !== 'judged') {
      report.errors.push(outcome)
      return
    }
    if (outcome.judgement.verdict === 'pass') {
      report.agreed++
      if (isWeak(outcome)) report.weak++
      return
    }
    const issues = this.#explain(outcome)
    if (issues.length > 0) {
      for (const issue of issues)
        report.known.set(issue, [
          ...(report.known.get(issue) ?? []),
          attempt.number,
        ])
      return
    }
    const signature = signatureOf(outcome)
    const before = this.#seen.get(signature) ?? 0
    this.#seen.set(signature, before + 1)
    if (before === 0) await this.#investigate(attempt, outcome)
  }

  #explain({ item, judgement }: JudgedOutcome): KnownIssue[] {
    const kernel = this.#options.kernels.get(item.kernel)!
    const { layout } = predictCase(item, kernel)
    return explanation(judgement, kernel.series, { words: item.words, layout })
  }

  /** Makes it smaller for as long as it stays the same disagreement. */
  async #investigate(
    { number, scenario, item }: Attempt,
    whole: JudgedOutcome,
  ): Promise<void> {
    const { jobs, signal, until, board, shrinkBudget, onFound } = this.#options
    let found = { outcome: whole, console: await consoleOf(whole) }
    const smallest = await shrink(scenario.input, {
      valid: candidate => bootableScenario(candidate, board) !== undefined,
      failing: async candidates => {
        if (signal.aborted || performance.now() >= until) return undefined
        const failing = await this.#failing(candidates, item.kernel, whole)
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
      signature: signatureOf(whole),
      again: 0,
    }
    this.report.disagreements.push(disagreement)
    await onFound(disagreement)
  }

  /** The first of the candidates that disagrees in the same way. */
  async #failing(
    candidates: readonly CellInput[],
    kernel: string,
    whole: JudgedOutcome,
  ): Promise<{ index: number; found: Found } | undefined> {
    const { board } = this.#options
    const cases = candidates.map((candidate, index) =>
      numbered(bootableScenario(candidate, board)!, index, kernel),
    )
    let failing: { index: number; found: Found } | undefined
    await this.#boot(cases, async outcomes => {
      for (const [index, { id }] of cases.entries()) {
        const outcome = outcomes.find(({ item }) => item.id === id)
        if (outcome?.kind !== 'judged') continue
        if (!isSameDefect(outcome, whole)) continue
        if (this.#explain(outcome).length > 0) continue
        const found = { outcome, console: await consoleOf(outcome) }
        failing = { index, found }
        return
      }
    })
    return failing
  }
}

type Found = Pick<Disagreement, 'outcome' | 'console'>

const numbered = (
  scenario: BuiltScenario,
  number: number,
  kernel: string,
): Case =>
  caseOf(scenario, {
    id: `fuzz/${number}@${kernel}`,
    scenario: 'fuzz',
    kernel,
  })

const consoleOf = async ({ console }: JudgedOutcome): Promise<Uint8Array> =>
  console === null ? new Uint8Array() : readFile(console)
