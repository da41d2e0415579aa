import { visible } from '../base/text.ts'
import type { Verdict } from '../judge/context.ts'
import type { BuildProgress } from '../kernel/make.ts'
import { countVerdicts } from '../report/document.ts'

/** Shows what is under way; results go to stdout, this goes to stderr. */
export interface Progress {
  readonly building: (kernel: string, progress: BuildProgress) => void
  /** Something else that takes a while before the cases start. */
  readonly step: (text: string) => void
  readonly started: (id: string) => void
  /** How many cases there are to run. */
  readonly expect: (cases: number) => void
  /** What a case has come to. */
  readonly stage: (id: string, stage: string) => void
  readonly finished: (id: string, verdict: Verdict) => void
  /** How far something is that is no list of cases. */
  readonly counted: (text: string) => void
  /** Takes the display away, runs the action, and puts it back. */
  readonly around: (write: () => void) => void
  readonly close: () => void
}

const SPINNER = ['|', '/', '-', '\\']
const FRAME_MS = 120
/** Without a terminal a long step says this often that it is alive. */
const LINE_MS = 15_000
/** How often it says how far the cases are: each of them has a line as well. */
const CASES_MS = 60_000

const seconds = (since: number): string =>
  `${Math.round((performance.now() - since) / 1000)} s`

const buildText = (kernel: string, { phase, files }: BuildProgress): string =>
  visible(
    `kernel ${kernel}: ${phase}${files > 0 ? `, ${files} files done` : ''}`,
  )

/** A few lines that are drawn over and over, on a terminal. */
const liveProgress = async (): Promise<Progress> => {
  // Loaded only for people: it costs a tenth of a second.
  const { createLogUpdate } = await import('log-update')
  const log = createLogUpdate(process.stderr)
  const running = new Map<string, { since: number; stage: string }>()
  const verdicts: Verdict[] = []
  const begin = performance.now()
  let build: string | undefined
  let counted: string | undefined
  let first = 0
  let total = 0
  let frame = 0
  let closed = false
  const draw = (): void => {
    const spinner = SPINNER[frame++ % SPINNER.length]!
    const lines = [...running].map(
      ([id, { since, stage }]) =>
        `  ${spinner} ${visible(id)}  ${stage}, ${seconds(since)}`,
    )
    if (counted !== undefined) log(`${spinner} ${counted}, ${seconds(begin)}`)
    else if (build !== undefined) log(`${spinner} ${build}, ${seconds(begin)}`)
    else
      log([...lines, casesText({ verdicts, total, begin, first })].join('\n'))
  }
  const timer = setInterval(draw, FRAME_MS)
  return {
    building: (kernel, progress) => {
      build = buildText(kernel, progress)
    },
    step: text => {
      build = text
    },
    started: id => {
      build = undefined
      first ||= performance.now()
      running.set(id, { since: performance.now(), stage: 'starts' })
    },
    expect: cases => {
      total = cases
    },
    stage: (id, stage) => {
      const one = running.get(id)
      if (one) one.stage = stage
    },
    finished: (id, verdict) => {
      running.delete(id)
      verdicts.push(verdict)
    },
    counted: text => {
      counted = text
    },
    around: write => {
      if (!closed) log.clear()
      write()
      if (!closed) draw()
    },
    close: () => {
      // A second time it would take away what was printed since.
      if (closed) return
      closed = true
      clearInterval(timer)
      log.clear()
      log.done()
    },
  }
}

/** How far a run is. */
interface Cases {
  readonly verdicts: readonly Verdict[]
  readonly total: number
  /** Of the run, and of its first case; performance.now(). */
  readonly begin: number
  readonly first: number
}

/** `12 of 40 cases, 2 fail, 31 s, about 70 s left`. */
const casesText = ({ verdicts, total, begin, first }: Cases): string =>
  [
    `${verdicts.length} of ${total} cases`,
    ...Object.entries(countVerdicts(verdicts))
      .filter(([verdict, count]) => verdict !== 'pass' && count > 0)
      .map(([verdict, count]) => `${count} ${verdict}`),
    seconds(begin),
    ...restText(verdicts.length, total, first),
  ].join(', ')

/** A few say nothing about the others. */
const ENOUGH = 3

/** How long the rest will take, by those that were finished. */
const restText = (done: number, total: number, since: number): string[] => {
  if (done < ENOUGH || done >= total) return []
  const rest = ((performance.now() - since) / done) * (total - done)
  return [
    rest < 90_000
      ? `about ${Math.ceil(rest / 1000)} s left`
      : `about ${Math.ceil(rest / 60_000)} min left`,
  ]
}

/** A line now and then, for logs. */
const plainProgress = (): Progress => {
  const begin = performance.now()
  const verdicts: Verdict[] = []
  let last = { phase: '', at: -Infinity }
  let first = 0
  let total = 0
  let told = begin
  return {
    building: (kernel, progress) => {
      const now = performance.now()
      if (progress.phase === last.phase && now - last.at < LINE_MS) return
      last = { phase: progress.phase, at: now }
      process.stderr.write(
        `${buildText(kernel, progress)}, ${seconds(begin)}\n`,
      )
    },
    step: text => {
      process.stderr.write(`${text}\n`)
    },
    started: () => {
      first ||= performance.now()
    },
    expect: cases => {
      total = cases
    },
    stage: () => undefined,
    finished: (_, verdict) => {
      verdicts.push(verdict)
      const now = performance.now()
      if (verdicts.length === total || now - told < CASES_MS) return
      told = now
      process.stderr.write(`${casesText({ verdicts, total, begin, first })}\n`)
    },
    counted: text => {
      const now = performance.now()
      if (now - last.at < LINE_MS) return
      last = { phase: text, at: now }
      process.stderr.write(`${text}, ${seconds(begin)}\n`)
    },
    around: write => {
      write()
    },
    close: () => undefined,
  }
}

/** The display that fits where stderr goes. */
export const progressFor = async (): Promise<Progress> =>
  process.stderr.isTTY ? liveProgress() : plainProgress()
