import type { JudgedOutcome } from '../judge/case-outcome.ts'
import type { Judgement } from '../judge/judge.ts'
import { judge } from '../judge/judge.ts'
import type { WitnessName } from '../machine/record.ts'
import type { Case } from '../scenario/case.ts'
import { MAINLINE_6_8 } from '../tdx/series/mainline-6.8.ts'
import { V6 as V6_SERIES } from '../tdx/series/v6.ts'
import {
  type Seen,
  type TestKernel,
  namedCase,
  perfectBoot,
  recordOf,
} from './records.ts'

/** Two nodes and a hole. */
export const NODES = {
  machine: { nodes: [{ memory: '2560M' }, { memory: '1536M' }] },
  cmdline: { memmap: ['64M$0x140000000'] },
}

/** Kernels of the two series. */
export const KERNEL: TestKernel = {
  series: MAINLINE_6_8,
  trigger: MAINLINE_6_8.trigger,
  hostsTdx: true,
  hibernates: false,
  hasMemlist: true,
  printsRegions: false,
  failsRegions: false,
}
export const V6: TestKernel = {
  series: V6_SERIES,
  trigger: V6_SERIES.trigger,
  hostsTdx: true,
  hibernates: false,
  hasMemlist: true,
  printsRegions: true,
  failsRegions: true,
}

type Change = Partial<Seen> | ((seen: Seen) => Partial<Seen>)

/** A boot that is judged, and how it differs from a perfect one. */
export interface JudgedBoot {
  readonly kernel?: TestKernel
  readonly change?: Change
  readonly editConsole?: (lines: string[]) => string[]
  /** Witnesses that the machine does not have. */
  readonly without?: readonly WitnessName[]
  /** The console came over a line that may lose characters. */
  readonly lossy?: boolean
}

/** Judges a perfect boot after it was changed. */
export const judgeBoot = (cell: object, boot: JudgedBoot = {}): Judgement =>
  judgedOutcome(namedCase(cell), boot).judgement

/** What comes of a case whose boot is perfect but for what was changed. */
export const judgedOutcome = (
  item: Case,
  {
    kernel = KERNEL,
    change = {},
    editConsole,
    without = [],
    lossy = false,
  }: JudgedBoot = {},
): JudgedOutcome => {
  const { prediction, seen, console } = perfectBoot(item, editConsole, kernel)
  const record = recordOf({
    ...seen,
    ...(typeof change === 'function' ? change(seen) : change),
  })
  const witnesses = { ...record.witnesses }
  for (const name of without) witnesses[name] = null
  if (witnesses.console) witnesses.console = { ...witnesses.console, lossy }
  const evidence = { ...console, record: { ...record, witnesses } }
  return {
    kind: 'judged',
    item,
    kernel: { name: item.kernel, key: 'test', build: undefined },
    prediction,
    judgement: judge({ item, kernel, prediction, evidence }),
    evidence,
    console: 'cases/x/console.log',
  }
}

/** The verdict, and the reasons in a text. */
const judgedText = ({
  verdict,
  reasons,
}: Judgement): { verdict: string; text: string } => ({
  verdict,
  text: reasons.map(({ check, message }) => `${check}: ${message}`).join('\n'),
})

/** Judges a perfect boot after it was changed; gives verdict and reasons. */
export const judgedOn = (
  kernel: TestKernel,
  cell: object,
  change: Change = {},
  editConsole?: (lines: string[]) => string[],
): { verdict: string; text: string } =>
  judgedText(
    judgeBoot(cell, { kernel, change, ...(editConsole && { editConsole }) }),
  )

/** The same on the series most tests are about. */
export const judged = (
  cell: object,
  change: Change = {},
  editConsole?: (lines: string[]) => string[],
): { verdict: string; text: string } =>
  judgedOn(KERNEL, cell, change, editConsole)

/** Replaces text in the console; the text must be there. */
export const replace =
  (from: string | RegExp, to: string) =>
  (lines: string[]): string[] => {
    const before = lines.join('\n')
    const after = before.replace(from, to)
    if (before === after) throw new Error(`${from} is not in the console`)
    return after.split('\n')
  }
