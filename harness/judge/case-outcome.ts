import type { Case } from '../scenario/case.ts'
import type { Evidence, Verdict } from './context.ts'
import type { Judgement } from './judge.ts'
import type { Prediction } from './prediction.ts'

/** Which kernel a case was run on. */
export interface KernelIdentity {
  readonly name: string
  /** Hash of everything that entered its build. */
  readonly key: string
  /** What `--kernel-build` names; undefined for a recipe. */
  readonly build: string | undefined
}

interface Tried {
  readonly item: Case
  readonly kernel: KernelIdentity
  readonly prediction: Prediction
}

/** A case that was booted and judged. */
export interface JudgedOutcome extends Tried {
  readonly kind: 'judged'
  readonly judgement: Judgement
  readonly evidence: Evidence
  /** Where its console is kept, as reports show it; null: there is none. */
  readonly console: string | null
}

/**
 * A case that gave no result: the rig or the machine failed (`error`), or it
 * cannot be booted on its kernel (`skip`).
 */
export interface UnjudgedOutcome extends Tried {
  readonly kind: 'error' | 'skip'
  readonly message: string
}

/** What came of a case. */
export type CaseOutcome = JudgedOutcome | UnjudgedOutcome

export const verdictOf = (outcome: CaseOutcome): Verdict =>
  outcome.kind === 'judged' ? outcome.judgement.verdict : outcome.kind

/** Why a case did not pass, each in a sentence. */
export const messagesOf = (outcome: CaseOutcome): string[] =>
  outcome.kind === 'judged'
    ? outcome.judgement.reasons.map(({ message }) => message)
    : [outcome.message]
