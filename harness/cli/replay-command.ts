import { basename, extname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { GIB, alignDown } from '../base/units.ts'
import { kernelWords } from '../memory/cmdline.ts'
import { outcomeText } from '../report/prediction-text.ts'
import type { CaseOutcome } from '../judge/case-outcome.ts'
import { observeEnding } from '../judge/observed-ending.ts'
import { MAX_MEMORY } from '../scenario/machine-spec.ts'
import { type Replay, replay } from '../reproduce/replay.ts'
import { replayText } from '../reproduce/replay-text.ts'
import { chosenBoot, readLog } from './log-file.ts'
import type { RunFlags } from './run-flags.ts'
import { INTERRUPTED } from './interrupt.ts'
import { boardHere } from './board-here.ts'
import { writeScenario } from './scenario-out.ts'

export interface ReplayFlags extends Pick<
  RunFlags,
  'kernel' | 'kernelBuild' | 'accel'
> {
  readonly boot?: number
  readonly out?: string
  readonly memory?: number
  readonly run?: boolean
  /** Words to try beside those of the log. */
  readonly with?: readonly string[]
}

/** struct page takes that part of a guest's memory, and so of the host's. */
const STRUCT_PAGES = 1 / 64

/** `tdxrig replay`: a scenario made of a log. @returns the exit code */
export const replayCommand = async (
  file: string,
  flags: ReplayFlags,
): Promise<number> => {
  checkFlags(flags)
  const log = await readLog(file)
  const { facts, number } = chosenBoot(log, flags.boot)
  if (log.boots.length > 1 && flags.boot === undefined)
    process.stderr.write(
      `tdxrig: the log has ${log.boots.length} boots: boot ${number} is taken, --boot takes another\n`,
    )
  const tried = flags.with ?? []
  const made = replay(
    tried.length === 0
      ? facts
      : {
          ...facts,
          cmdline: [...kernelWords(facts.cmdline ?? ''), ...tried].join(' '),
        },
    {
      memory: flags.memory ?? bearable(),
      board: await boardHere(),
      trial: tried.length > 0,
    },
  )
  const text = replayText(made)
  if (flags.out === '-') {
    process.stdout.write(text)
    return 0
  }
  const target = flags.out ?? defaultName(file)
  await writeScenario(target, text, flags.out !== undefined)
  process.stdout.write(
    [
      `${target}: ${visible(made.input.name ?? target)}`,
      ...made.approximations.map(note => `  ${visible(note)}`),
      '',
    ].join('\n'),
  )
  return flags.run ? runReplay(target, made, flags) : 0
}

const checkFlags = ({ run, out, kernel, kernelBuild }: ReplayFlags): void => {
  if (run && out === '-')
    throw new UsageError('OUT', '--run boots a file: --out - has none')
  if (!run && (kernel ?? kernelBuild))
    throw new UsageError(
      'KERNEL',
      '--kernel and --kernel-build say what --run boots, and there is no --run',
    )
}

/** Half of the host's memory may be touched by the guest. */
const bearable = (): number =>
  Math.max(
    4 * GIB,
    Math.min(
      MAX_MEMORY,
      alignDown(process.availableMemory() / 2 / STRUCT_PAGES, GIB),
    ),
  )

const defaultName = (file: string): string =>
  `${file === '-' ? 'replay' : basename(file, extname(file))}.yaml`

const runReplay = async (
  target: string,
  { said }: Replay,
  { kernel, kernelBuild, accel, with: tried }: ReplayFlags,
): Promise<number> => {
  const { runAndReport } = await import('./run-command.ts')
  const { code, outcomes } = await runAndReport([target], {
    reporter: 'pretty',
    accel,
    shortcuts: true,
    ...(kernel && { kernel }),
    ...(kernelBuild && { kernelBuild }),
  })
  if (code === INTERRUPTED) return code
  const endings = outcomes.map(endingOf)
  if (tried) {
    process.stdout.write(
      endings.map(ending => trial(ending, said, tried)).join(''),
    )
    return code
  }
  process.stdout.write(endings.map(ending => comparison(ending, said)).join(''))
  const different = endings.some(ending => !isSame(ending, said))
  return code === 0 && different ? 1 : code
}

/** How TDX ended here; undefined where nothing was booted. */
type Here = NonNullable<Replay['said']> | undefined

const endingOf = (outcome: CaseOutcome): Here => {
  if (outcome.kind !== 'judged') return undefined
  const { record, facts } = outcome.evidence
  return observeEnding(facts, record)
}

const endingText = (ending: Here): string =>
  ending
    ? outcomeText(ending.outcome, ending.stage, ending.errno)
    : 'not observed'

const trial = (
  here: Here,
  said: Replay['said'],
  tried: readonly string[],
): string =>
  `with ${visible(tried.join(' '))}: ${endingText(here)}${said ? `; in the log: ${endingText(said)}` : ''}\n`

const isSame = (here: Here, said: Replay['said']): boolean =>
  said === undefined ||
  (here !== undefined &&
    here.outcome === said.outcome &&
    (said.stage === null || here.stage === said.stage) &&
    (said.errno === null || here.errno === said.errno))

const comparison = (here: Here, said: Replay['said']): string => {
  if (!said)
    return `${endingText(here)}; the log does not say how it ended there\n`
  return isSame(here, said)
    ? `the same as in the log: ${endingText(said)}\n`
    : `not the same: ${endingText(here)} here, ${endingText(said)} in the log\n`
}
