import { dirname, join } from 'node:path'
import { RigError, UsageError } from '../base/errors.ts'
import { writeWhole } from '../base/output.ts'
import type { BisectJournal, BisectStep } from '../history/bisect-journal.ts'
import { type Seen, passesNeeded } from '../history/sureness.ts'
import { type CaseOutcome, verdictOf } from '../judge/case-outcome.ts'
import type { SourceRecipe } from '../kernel/recipe.ts'
import { dropSource } from '../kernel/source.ts'
import type { Qemu } from '../machine/qemu/probe.ts'
import { isFailing } from '../report/compare.ts'
import { caseDocument, resultDocument } from '../report/document.ts'
import type { Reproduce } from '../report/reporter.ts'
import { shellLine } from '../base/shell.ts'
import { prepareKernels } from '../run/kernels.ts'
import { runCases } from '../run/run.ts'
import { ResultStore } from '../run/store.ts'
import type { Workspace } from '../run/workspace.ts'
import type { Case } from '../scenario/case.ts'
import { programName } from './program-name.ts'
import type { Progress } from './progress.ts'
import { documentText } from './report-files.ts'
import { type Rig, openRig } from './rig.ts'
import { VERSION } from './version.ts'

/** A kernel on the way from good to bad. */
export interface Subject {
  /** Names its folder: a commit, or a number of patches. */
  readonly name: string
  readonly title: string
  readonly recipe: SourceRecipe
}

export interface BenchOptions {
  readonly cases: readonly Case[]
  readonly journal: BisectJournal
  /** Of the bisect; each subject has one in it. */
  readonly folder: string
  readonly qemu: Qemu
  readonly workspace: Workspace
  readonly progress: Progress
  readonly signal: AbortSignal
  readonly jobs: number
  readonly onStep: (step: BisectStep) => void
}

/** Boots of the bad end, to see how often it fails. */
const BAD_BOOTS = 5
/** A fault that was not seen by then is not there. */
const MOST_BAD_BOOTS = 20

/** When a subject was booted enough. */
type Enough = (seen: Seen) => boolean

/** Builds and boots kernels until it is sure whether they have the fault. */
export class BisectBench {
  readonly #options: BenchOptions
  /** What is booted: at last only what failed at the bad end. */
  #cases: readonly Case[]
  /** Checks that failed there: other failures are other faults. */
  #checks: readonly string[] | undefined
  #needed = BAD_BOOTS
  #machine: Rig['machine'] | undefined
  #boots = 0

  constructor(options: BenchOptions) {
    this.#options = options
    this.#cases = options.cases
  }

  /** Passing boots that make a kernel a good one. */
  get needed(): number {
    return this.#needed
  }

  /**
   * The bad end: what fails there, and how often.
   *
   * @throws UsageError when nothing does
   */
  async bad(subject: Subject): Promise<BisectStep> {
    const step = await this.#step(
      subject,
      ({ boots, failed }) =>
        (boots >= BAD_BOOTS && failed > 0) || boots >= MOST_BAD_BOOTS,
    )
    if (step.finding !== 'bad')
      throw new UsageError(
        'BISECT',
        `the bad end, ${subject.title}, is not bad: ${step.finding === 'skip' ? step.why : `it passed ${step.boots} times`}`,
      )
    const { confidence } = this.#options.journal.request
    this.#needed = passesNeeded(step, confidence)
    this.#checks = step.checks
    this.#cases = this.#options.cases.filter(({ id }) =>
      step.cases.includes(id),
    )
    return step
  }

  /** @throws UsageError when it has the fault as well, or cannot be judged */
  async good(subject: Subject): Promise<void> {
    const step = await this.judge(subject)
    if (step.finding !== 'good')
      throw new UsageError(
        'BISECT',
        `the good end, ${subject.title}, is not good: ${step.why}`,
      )
  }

  judge(subject: Subject): Promise<BisectStep> {
    return this.#step(
      subject,
      ({ boots, failed }) => failed > 0 || boots >= this.#needed,
    )
  }

  /** Where the result document of a subject is. */
  documentOf(name: string): string {
    return join(this.#options.folder, name, 'result.json')
  }

  async #step(subject: Subject, enough: Enough): Promise<BisectStep> {
    const { journal, onStep } = this.#options
    const known = journal.steps.get(subject.name)
    if (known) return known
    const step = {
      name: subject.name,
      title: subject.title,
      ...(await this.#measure(subject, enough)),
    }
    await journal.add(step)
    onStep(step)
    return step
  }

  async #measure(
    subject: Subject,
    enough: Enough,
  ): Promise<Omit<BisectStep, 'name' | 'title'>> {
    const nothing = { boots: 0, failed: 0, checks: [], cases: [] }
    let rig: Rig
    try {
      rig = await this.#build(subject)
    } catch (error) {
      this.#options.signal.throwIfAborted()
      if (!(error instanceof RigError)) throw error
      return { ...nothing, finding: 'skip', why: error.message }
    }
    const store = await ResultStore.create(
      join(this.#options.folder, subject.name),
      new Date(),
    )
    const booted: CaseOutcome[][] = []
    let seen: Seen = { boots: 0, failed: 0 }
    while (!enough(seen)) {
      const outcomes = await this.#boot(rig, store)
      booted.push(outcomes)
      const unjudged = outcomes.find(one => this.#isUnjudged(one))
      if (unjudged) {
        await this.#keep(booted, rig, store)
        return {
          ...nothing,
          ...seen,
          finding: 'skip',
          why: messageOf(unjudged),
        }
      }
      const failed = outcomes.some(isFailingOutcome)
      seen = {
        boots: seen.boots + 1,
        failed: seen.failed + (failed ? 1 : 0),
      }
    }
    await this.#keep(booted, rig, store)
    const failures = booted.flat().filter(isFailingOutcome)
    return {
      ...seen,
      finding: failures.length > 0 ? 'bad' : 'good',
      why: failures[0] ? messageOf(failures[0]) : '',
      checks: [...new Set(failures.flatMap(checksOf))],
      cases: [...new Set(failures.map(({ item }) => item.id))],
    }
  }

  async #build({ recipe }: Subject): Promise<Rig> {
    const { qemu, workspace, progress, signal, journal } = this.#options
    const common = { workspace, progress, signal }
    // How guests are run is found out once.
    this.#machine ??= (
      await openRig({
        ...common,
        recipes: [recipe],
        qemu,
        accel: journal.request.accel,
      })
    ).machine
    const kernels = await prepareKernels([recipe], {
      ...common,
      onBuild: progress.building,
    })
    if (recipe.source.kind === 'git') await dropSource(recipe)
    return { machine: this.#machine, kernels }
  }

  async #boot(
    { machine, kernels }: Rig,
    store: ResultStore,
  ): Promise<CaseOutcome[]> {
    const { jobs, signal, progress } = this.#options
    const number = ++this.#boots
    const outcomes = await runCases({
      cases: this.#cases,
      machine,
      kernels,
      jobs,
      signal,
      // Each boot has folders of its own.
      workspace: {
        directory: name =>
          this.#options.workspace.directory(`boot-${number}-${name}`),
      },
      keepConsole: (id, record) => store.keepConsole(id, record),
      onStart: ({ id }) => {
        progress.counted(`boot ${number}, ${id}`)
      },
    })
    signal.throwIfAborted()
    return outcomes
  }

  /** It says nothing, or it is another fault than that of the bad end. */
  #isUnjudged(outcome: CaseOutcome): boolean {
    if (!isFailingOutcome(outcome)) return verdictOf(outcome) !== 'pass'
    const checks = this.#checks
    return (
      checks !== undefined &&
      !checksOf(outcome).some(one => checks.includes(one))
    )
  }

  /** Of every case the boot that says most: one that failed, or the last. */
  async #keep(
    booted: readonly CaseOutcome[][],
    { machine, kernels }: Rig,
    store: ResultStore,
  ): Promise<void> {
    const { qemu } = this.#options
    const reproduce = againWith(kernels)
    const cases = this.#cases.flatMap(({ id }) => {
      const own = booted.flat().filter(({ item }) => item.id === id)
      const told = own.find(one => verdictOf(one) !== 'pass') ?? own.at(-1)
      return told ? [caseDocument(told, reproduce, own)] : []
    })
    const document = resultDocument(
      {
        rig: {
          version: VERSION,
          machine: `${machine.description}, ${qemu.description}`,
          board: qemu.board.id,
        },
        started: new Date().toISOString(),
        kernels: [...kernels.values()].map(({ name, key, release }) => ({
          name,
          key,
          release: release ?? null,
        })),
      },
      { durationMs: 0, interrupted: false },
      cases,
    )
    await writeWhole(store.document, documentText(document))
  }
}

/** The recipe is another kernel: the one that was built is named. */
const againWith =
  (kernels: Rig['kernels']): Reproduce =>
  ({ item: { id, scenario, kernel } }) =>
    shellLine([
      programName(),
      'run',
      scenario,
      '--filter',
      id.slice(0, id.lastIndexOf('@')),
      '--kernel-build',
      dirname(kernels.get(kernel)!.built.vmlinux),
    ])

const isFailingOutcome = (outcome: CaseOutcome): boolean =>
  isFailing({ verdict: verdictOf(outcome) })

const checksOf = (outcome: CaseOutcome): string[] =>
  outcome.kind === 'judged'
    ? outcome.judgement.reasons.map(({ check }) => check)
    : []

const messageOf = (outcome: CaseOutcome): string =>
  outcome.kind === 'judged'
    ? (outcome.judgement.reasons[0]?.message ?? '')
    : outcome.message
