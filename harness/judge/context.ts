import type { Facts } from '../console/facts.ts'
import type { BootableKernel } from '../machine/machine.ts'
import type { BootRecord, Testimony, WitnessName } from '../machine/record.ts'
import type { Case } from '../scenario/case.ts'
import type { Expectation } from '../scenario/expectation.ts'
import type { Layout } from '../memory/predict.ts'
import type { Range } from '../memory/range.ts'
import type { Prediction } from './prediction.ts'

/** `pass` and the ways not to. */
export const VERDICTS = ['pass', 'fail', 'invalid', 'error', 'skip'] as const
export type Verdict = (typeof VERDICTS)[number]

/** One thing that is not as it must be. */
export interface Reason {
  /**
   * `invalid`: the boot does not prove that what was asked took effect.
   * `fail`: the kernel did not do what it must.
   */
  readonly kind: 'invalid' | 'fail'
  /** What was looked at. */
  readonly check: string
  /** What was expected, what was found, and where they differ. */
  readonly message: string
  readonly expected?: string
  readonly found?: string
  /** Line of the console that shows it. */
  readonly line?: number
}

/** What of a boot was judged: all, or the layout of memory alone. */
export const SCOPES = ['tdx', 'layout'] as const
export type Scope = (typeof SCOPES)[number]

/** Where the predicted layout comes from. */
export type Basis = 'machine' | 'console'

/** What of a case is judged. */
export type JudgedCase = Pick<
  Case,
  | 'expect'
  | 'expectOn'
  | 'machine'
  | 'platform'
  | 'allocations'
  | 'words'
  | 'steps'
>

/** What of a kernel matters to a judge. */
export type JudgedKernel = Pick<
  BootableKernel,
  | 'series'
  | 'trigger'
  | 'hostsTdx'
  | 'hibernates'
  | 'hasMemlist'
  | 'printsRegions'
  | 'failsRegions'
> & {
  /** Where it was linked to run; undefined: not known. */
  readonly kernelImage?: Range | undefined
  /** Bytes of its real mode code. */
  readonly realMode?: number | undefined
}

/** A boot, and what its console says. */
export interface Evidence {
  readonly record: BootRecord
  /** Of an empty console where there is none. */
  readonly facts: Facts
  /** Of the kernel that the first one started; undefined: none began. */
  readonly nextFacts?: Facts | undefined
  /** The last lines of the console, without time stamps. */
  readonly tail: readonly string[]
}

/** All there is to judge a boot by. */
export interface Context extends Evidence {
  readonly item: JudgedCase
  readonly kernel: JudgedKernel
  /** What the case must show on this kernel. */
  readonly expect: Expectation
  readonly prediction: Prediction
  /** The predicted layout; from the console where the model does not follow. */
  readonly layout: Layout
  readonly basis: Basis
}

/** What a check looks at, and which witnesses it needs for that. */
export interface Check {
  readonly name: string
  readonly needs: readonly WitnessName[]
  readonly look: (context: Context) => Reason[] | Unseen
}

/** What was not observed, for want of these witnesses. */
export interface Unseen {
  readonly missing: readonly WitnessName[]
}

export const unseen = (...missing: WitnessName[]): Unseen => ({ missing })

type Seen<Name extends WitnessName> = Pick<Testimony, Name>

/**
 * A check that is only asked when all the witnesses it needs are there. It may
 * also say itself that nobody saw what it looks for.
 */
export const check = <Name extends WitnessName>(
  name: string,
  needs: readonly Name[],
  look: (context: Context, seen: Seen<Name>) => Reason[] | Unseen,
): Check => ({
  name,
  needs,
  look: context => {
    const { witnesses } = context.record
    const missing = needs.filter(witness => witnesses[witness] === null)
    return missing.length === 0
      ? look(context, witnesses as Seen<Name>)
      : { missing }
  },
})
