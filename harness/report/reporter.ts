import { messageOf } from '../base/errors.ts'
import type { CaseOutcome } from '../judge/case-outcome.ts'
import type { Verdict } from '../judge/context.ts'
import type { CaseResult, ResultDocument } from './schema.ts'

/** What is known of a run before its first case. */
export interface RunHead {
  readonly rig: {
    readonly version: string
    /** What boots the cases, for people. */
    readonly machine: string
    /** Id of the board they are booted on. */
    readonly board: string
  }
  /** ISO 8601. */
  readonly started: string
  readonly kernels: ResultDocument['kernels']
  /** How many cases there are. */
  readonly cases: number
}

/** What is known after its last. */
export interface RunEnd {
  readonly durationMs: number
  /** A signal came: only some of the cases were finished. */
  readonly interrupted: boolean
  /** How many of the cases were finished by the run that was resumed. */
  readonly resumed: number
  /** Of every finished case. */
  readonly verdicts: readonly Verdict[]
}

/** Is told of a run as it goes on. Several may be told of the same run. */
export interface Reporter {
  start(head: RunHead): void | Promise<void>
  /** In the order in which cases are finished. */
  case(result: CaseResult): void | Promise<void>
  end(end: RunEnd): void | Promise<void>
}

/** The shell line that runs a case again. */
export type Reproduce = (
  outcome: Pick<CaseOutcome, 'item' | 'kernel'>,
) => string

/**
 * Tells several reporters. One that cannot start ends the run before anything
 * is booted. One that fails at a case is told of the others all the same, and
 * what failed first is thrown when the run is over and all were told.
 */
export const tellAll = (reporters: readonly Reporter[]): Reporter => {
  const failures: unknown[] = []
  const tell = async (
    action: (reporter: Reporter) => void | Promise<void>,
  ): Promise<void> => {
    for (const reporter of reporters) {
      try {
        await action(reporter)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  return {
    start: async head => {
      for (const reporter of reporters) await reporter.start(head)
    },
    case: result => tell(reporter => reporter.case(result)),
    end: async end => {
      await tell(reporter => reporter.end(end))
      const [first] = failures
      if (failures.length > 0)
        throw first instanceof Error ? first : new Error(messageOf(first))
    },
  }
}
