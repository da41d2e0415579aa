import { basename, extname } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { visible } from '../base/text.ts'
import { GIB, alignDown } from '../base/units.ts'
import { outcomeText } from '../report/prediction-text.ts'
import type { CaseResult } from '../report/schema.ts'
import { MAX_MEMORY } from '../scenario/machine-spec.ts'
import { type Replay, replay } from '../reproduce/replay.ts'
import { scenarioFile } from '../scenario/scenario-file.ts'
import { chosenBoot, readLog } from './log-file.ts'
import type { RunFlags } from './run-flags.ts'
import { writeScenario } from './scenario-out.ts'

export interface ReplayFlags extends Pick<
  RunFlags,
  'kernel' | 'kernelBuild' | 'accel'
> {
  readonly boot?: number
  readonly out?: string
  readonly memory?: number
  readonly run?: boolean
}

/** struct page takes that part of a guest's memory, and so of the host's. */
const STRUCT_PAGES = 1 / 64

/** `tdxrig replay`: a scenario made of a log. @returns the exit code */
export const replayCommand = async (
  file: string,
  flags: ReplayFlags,
): Promise<number> => {
  if (flags.run && flags.out === '-')
    throw new UsageError('OUT', '--run boots a file: --out - has none')
  const log = await readLog(file)
  const { facts, number } = chosenBoot(log, flags.boot)
  if (log.boots.length > 1 && flags.boot === undefined)
    process.stderr.write(
      `tdxrig: the log has ${log.boots.length} boots: boot ${number} is taken, --boot takes another\n`,
    )
  const made = replay(facts, { memory: flags.memory ?? bearable() })
  const text = scenarioFile(made.input, commentsOn(made))
  if (flags.out === '-') {
    process.stdout.write(text)
    return 0
  }
  const target = flags.out ?? defaultName(file)
  await writeScenario(target, text, flags.out !== undefined)
  process.stdout.write(
    [
      `${target}: ${visible(made.input.name)}`,
      ...made.approximations.map(note => `  ${visible(note)}`),
      '',
    ].join('\n'),
  )
  return flags.run ? runReplay(target, made, flags) : 0
}

const commentsOn = ({ approximations }: Replay): string[] =>
  approximations.length === 0
    ? ['Made by tdxrig replay.']
    : [
        'Made by tdxrig replay. It is not the machine of the log in this:',
        ...approximations.map(note => `- ${note}`),
      ]

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
  { kernel, kernelBuild, accel }: ReplayFlags,
): Promise<number> => {
  const { runAndReport } = await import('./run-command.ts')
  const { code, document } = await runAndReport([target], {
    ...{ reporter: 'pretty', accel },
    ...(kernel && { kernel }),
    ...(kernelBuild && { kernelBuild }),
  })
  if (!document || document.interrupted) return code
  const different = document.cases.filter(result => !isSame(result, said))
  process.stdout.write(
    document.cases.map(result => comparison(result, said)).join(''),
  )
  return code === 0 && different.length > 0 ? 1 : code
}

const isSame = ({ tdx }: CaseResult, said: Replay['said']): boolean =>
  said === undefined ||
  (tdx !== null &&
    tdx.outcome === said.outcome &&
    (said.stage === null || tdx.stage === said.stage) &&
    (said.errno === null || tdx.errno === said.errno))

const comparison = (result: CaseResult, said: Replay['said']): string => {
  const { tdx } = result
  const here = tdx ? outcomeText(tdx.outcome, tdx.stage, tdx.errno) : 'no word'
  if (!said) return `${here}; the log does not say how it ended there\n`
  const there = outcomeText(said.outcome, said.stage, said.errno)
  return isSame(result, said)
    ? `the same as in the log: ${there}\n`
    : `not the same: ${here} here, ${there} in the log\n`
}
