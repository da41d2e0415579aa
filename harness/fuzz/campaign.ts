import { readFile } from 'node:fs/promises'
import { predictCase } from '../judge/prediction.ts'
import type { Machine } from '../machine/machine.ts'
import type { CaseResult } from '../report/schema.ts'
import type { PreparedKernel } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import type { CellInput } from '../scenario/schema.ts'
import { type RandomScenario, randomScenario, scenarioOf } from './generate.ts'
import { type KnownIssue, explanation } from './known-issues.ts'
import { Random } from './random.ts'
import { shrink } from './shrink.ts'

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
  /** Told after every boot. */
  readonly onBoot: (progress: CampaignReport, doing: string) => void
  /** The model; tests put another in its place. */
  readonly predict?: typeof predictCase
}

/** What came of a campaign, or of it so far. */
export interface CampaignReport {
  booted: number
  agreed: number
  readonly known: Map<KnownIssue, number>
  readonly disagreements: Disagreement[]
  /** Boots the rig or the machine failed at. */
  readonly errors: CaseResult[]
}

/** Different disagreements after which it stops: something is badly wrong. */
const ENOUGH = 5
/** Boots between two looks at the clock. */
const BATCH = 32

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
  readonly scenario: RandomScenario
  readonly item: Case
}

class Campaign {
  readonly report: CampaignReport = {
    ...{ booted: 0, agreed: 0, known: new Map<KnownIssue, number>() },
    ...{ disagreements: [], errors: [] },
  }
  readonly #options: CampaignOptions
  readonly #signatures = new Map<string, Disagreement>()
  #parts = 0

  constructor(options: CampaignOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    const { count, until, signal } = this.#options
    for (let first = 0; first < count; first += BATCH) {
      if (signal.aborted || performance.now() >= until) return
      if (this.report.disagreements.length >= ENOUGH) return
      const numbers = Math.min(BATCH, count - first)
      await this.#batch(
        Array.from({ length: numbers }, (_, i) => this.#attempt(first + i)),
      )
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

  async #batch(attempts: readonly Attempt[]): Promise<void> {
    await this.#boot(
      attempts.map(({ item }) => item),
      'booting',
      async results => {
        for (const attempt of attempts) {
          const result = results.find(({ id }) => id === attempt.item.id)
          if (result) await this.#take(attempt, result)
        }
      },
    )
  }

  /** @param use looks at the results while their consoles are there */
  async #boot(
    cases: readonly Case[],
    doing: string,
    use: (results: readonly CaseResult[]) => Promise<void>,
  ): Promise<void> {
    const { machine, kernels, workspace, jobs, signal, predict, onBoot } =
      this.#options
    await using part = await workspace.part(`part-${this.#parts++}`)
    const results = await runCases({
      ...{ cases, machine, kernels, jobs, signal, workspace: part },
      again: { program: 'tdxrig', flags: [] },
      store: {
        keepConsole: (_, record) => Promise.resolve(record.consolePath),
      },
      events: {
        onStart: () => undefined,
        onResult: () => {
          if (doing === 'booting') this.report.booted++
          onBoot(this.report, doing)
        },
      },
      ...(predict && { predict }),
    })
    if (!signal.aborted) await use(results)
  }

  async #take(attempt: Attempt, result: CaseResult): Promise<void> {
    const { report } = this
    if (result.verdict === 'pass') {
      report.agreed++
      return
    }
    if (result.verdict === 'error' || result.verdict === 'skip') {
      report.errors.push(result)
      return
    }
    const issues = this.#explain(attempt.scenario, attempt.item.kernel, result)
    if (issues.length > 0) {
      for (const issue of issues)
        report.known.set(issue, (report.known.get(issue) ?? 0) + 1)
      return
    }
    const seen = this.#signatures.get(signatureOf(result))
    if (seen) seen.again++
    else if (report.disagreements.length < ENOUGH)
      await this.#investigate(attempt, result)
  }

  #explain(
    { body }: RandomScenario,
    name: string,
    result: CaseResult,
  ): KnownIssue[] {
    const kernel = this.#options.kernels.get(name)!
    const { layout } = predictCase(
      { ...body },
      { lineage: kernel.lineage, kernelImage: kernel.kernelRange },
    )
    return explanation(result, kernel.lineage, { words: body.words, layout })
  }

  async #investigate(
    { number, scenario, item }: Attempt,
    result: CaseResult,
  ): Promise<void> {
    const { jobs, signal } = this.#options
    const signature = signatureOf(result)
    const doing = `shrinking number ${number}`
    let smallest = result
    let console = await consoleOf(result)
    const input = await shrink(
      scenario.input,
      async candidates => {
        if (signal.aborted) return undefined
        const valid = candidates.flatMap((candidate, index) => {
          const made = scenarioOf(candidate)
          return made ? [{ index, made }] : []
        })
        let failing: number | undefined
        await this.#boot(
          valid.map(({ made, index }) => caseOf(made, index, item.kernel)),
          doing,
          async results => {
            for (const { made, index } of valid) {
              const { id } = caseOf(made, index, item.kernel)
              const found = results.find(one => one.id === id)
              if (!found || signatureOf(found) !== signature) continue
              if (this.#explain(made, item.kernel, found).length > 0) continue
              smallest = found
              console = await consoleOf(found)
              failing = index
              return
            }
          },
        )
        return failing
      },
      Math.max(2, jobs),
    )
    const disagreement: Disagreement = {
      ...{ number, kernel: item.kernel, found: scenario.input },
      ...{ smallest: input, result: smallest, console, again: 0 },
    }
    this.report.disagreements.push(disagreement)
    this.#signatures.set(signature, disagreement)
  }
}

const caseOf = (
  { body }: RandomScenario,
  number: number,
  kernel: string,
): Case => ({
  id: `fuzz/${number}@${kernel}`,
  scenario: 'fuzz',
  kernel,
  ...body,
})

const consoleOf = async (result: CaseResult): Promise<Uint8Array> =>
  result.console === null ? new Uint8Array() : readFile(result.console)

/** What is wrong, without the figures: the same defect gives the same text. */
const signatureOf = ({ kernel, verdict, reasons }: CaseResult): string => {
  const [first] = reasons
  const detail =
    first?.check === 'incident'
      ? first.message.replaceAll(/[0-9a-fx]+/g, '')
      : ''
  return [kernel, verdict, first?.check ?? '', detail].join(' ')
}
