import { visible } from '../base/text.ts'
import type { BuildProgress } from '../kernel/make.ts'

/** Shows what is under way; results go to stdout, this goes to stderr. */
export interface Progress {
  readonly building: (kernel: string, progress: BuildProgress) => void
  /** Something else that takes a while before the cases start. */
  readonly step: (text: string) => void
  readonly started: (id: string) => void
  readonly finished: (id: string) => void
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

const seconds = (since: number): string =>
  `${Math.round((performance.now() - since) / 1000)} s`

const buildText = (kernel: string, { phase, files }: BuildProgress): string =>
  visible(
    `kernel ${kernel}: ${phase}${files > 0 ? `, ${files} files done` : ''}`,
  )

/** A few lines that are drawn over and over, on a terminal. */
const liveProgress = async (total: number): Promise<Progress> => {
  // Loaded only for people: it costs a tenth of a second.
  const { createLogUpdate } = await import('log-update')
  const log = createLogUpdate(process.stderr)
  const running = new Map<string, number>()
  const begin = performance.now()
  let build: string | undefined
  let counted: string | undefined
  let done = 0
  let frame = 0
  const draw = (): void => {
    const spinner = SPINNER[frame++ % SPINNER.length]!
    const lines = [...running].map(
      ([id, since]) => `  ${spinner} ${id}  ${seconds(since)}`,
    )
    if (counted !== undefined) log(`${spinner} ${counted}, ${seconds(begin)}`)
    else if (build !== undefined) log(`${spinner} ${build}, ${seconds(begin)}`)
    else
      log([...lines, `${done} of ${total} cases, ${seconds(begin)}`].join('\n'))
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
      running.set(id, performance.now())
    },
    finished: id => {
      running.delete(id)
      done++
    },
    counted: text => {
      counted = text
    },
    around: write => {
      log.clear()
      write()
      draw()
    },
    close: () => {
      clearInterval(timer)
      log.clear()
      log.done()
    },
  }
}

/** A line now and then, for logs. */
const plainProgress = (): Progress => {
  const begin = performance.now()
  let last = { phase: '', at: -Infinity }
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
    started: () => undefined,
    finished: () => undefined,
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
export const progressFor = async (total: number): Promise<Progress> =>
  process.stderr.isTTY ? liveProgress(total) : plainProgress()
