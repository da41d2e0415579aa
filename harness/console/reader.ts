import type { Facts, StepReport, TriggerResult } from './facts.ts'
import { LineSplitter } from './lines.ts'
import { type Incident, detectIncident, isPanicEnd } from './oops.ts'
import { MemoryReader } from './memory-reader.ts'
import { parseRecord } from './record.ts'
import { TdxReader } from './tdx-reader.ts'

/** Kept of lists that a hostile console could grow without end. */
const LIMIT = 4096
const TAIL_LINES = 25

/**
 * Reads a console as it arrives and keeps the facts. Every line is looked at
 * once; memory does not grow with the length of the console.
 */
export class ConsoleReader {
  readonly #splitter = new LineSplitter()
  readonly #tdx = new TdxReader()
  readonly #memory = new MemoryReader()
  readonly #incidents: Incident[] = []
  readonly #initErrors: string[] = []
  #kernel: string | null = null
  #cmdline: string | null = null
  #trigger: TriggerResult | null = null
  readonly #steps: StepReport[] = []
  #stepsDone = false
  #panicked = false
  #boots = 0
  #lines = 0
  readonly #tail: string[] = []

  /** Nothing that counts can come any more: all steps are done, or a panic. */
  get settled(): boolean {
    return this.#stepsDone || this.#panicked
  }

  /** Steps that init has reported on so far. */
  get steps(): readonly StepReport[] {
    return this.#steps
  }

  /** The last lines of the console so far, without time stamps. */
  get tail(): readonly string[] {
    return this.#tail
  }

  /** Takes the next bytes of the console, in chunks of any size. */
  push(chunk: Uint8Array): void {
    for (const line of this.#splitter.push(chunk)) this.#read(line)
  }

  /** The console is over: what is left is a line. */
  end(): void {
    for (const line of this.#splitter.end()) this.#read(line)
  }

  facts(): Facts {
    return {
      kernel: this.#kernel,
      cmdline: this.#cmdline,
      ...this.#memory.facts(),
      tdx: this.#tdx.facts(this.#trigger),
      trigger: this.#trigger,
      steps: this.#steps,
      stepsDone: this.#stepsDone,
      initErrors: this.#initErrors,
      incidents: this.#incidents,
      boots: this.#boots,
      lines: this.#lines,
    }
  }

  #read(raw: string): void {
    this.#lines++
    const record = parseRecord(raw, this.#lines)
    if (this.#tail.push(record.text) > TAIL_LINES) this.#tail.shift()
    for (const [pattern, take] of this.#rules) {
      const match = pattern.exec(record.text)
      if (match) {
        take(match)
        return
      }
    }
    if (this.#memory.read(record.text)) return
    this.#panicked ||= isPanicEnd(record)
    const incident = detectIncident(record)
    if (incident && this.#incidents.length < LIMIT)
      this.#incidents.push(incident)
    this.#tdx.read(record)
  }

  /** What a line may say, and where that fact goes. First match wins. */
  readonly #rules: readonly (readonly [
    RegExp,
    (match: RegExpExecArray) => void,
  ])[] = [
    [
      /^Linux version (\S+)/,
      match => {
        this.#boots++
        this.#kernel ??= match[1]!
      },
    ],
    // setup_arch() says it first, start_kernel() says it again.
    [
      /^(?:Command|Kernel command) line:(?: (.*))?$/,
      match => (this.#cmdline ??= match[1] ?? ''),
    ],
    [
      /^tdxrig: trigger: cpus=(\d+) tdx_cpu_enable=(-?\d+|none)(?: failed_cpu=(\d+))? tdx_enable=(-?\d+|none)$/,
      match => (this.#trigger = triggerOf(match)),
    ],
    [
      /^tdxrig: step (\d+) (plug|plugged|online)(?:: blocks=(\d+))?(?: refused=(\d+) errno=(-?\d+))?$/,
      match => {
        const step = stepOf(match)
        if (step && this.#steps.length < LIMIT) this.#steps.push(step)
      },
    ],
    [/^tdxrig: steps done$/, () => (this.#stepsDone = true)],
    [
      /^tdxrig: init: (.+)$/,
      match => {
        if (this.#initErrors.length < LIMIT) this.#initErrors.push(match[1]!)
      },
    ],
  ]
}

type Groups = readonly (string | undefined)[]

const triggerOf = ([
  ,
  cpus,
  cpuEnable,
  failedCpu,
  enable,
]: Groups): TriggerResult => ({
  cpus: Number(cpus),
  cpuEnable: cpuEnable === 'none' ? null : Number(cpuEnable),
  failedCpu: failedCpu === undefined ? null : Number(failedCpu),
  enable: enable === 'none' ? null : Number(enable),
})

/** Undefined for a line that is not whole. */
const stepOf = ([, number, kind, blocks, refused, errno]: Groups):
  StepReport | undefined => {
  const step = Number(number)
  if (kind === 'plug' && blocks === undefined) return { step, kind }
  if (blocks === undefined) return undefined
  if (kind === 'plugged' && refused === undefined)
    return { step, kind, blocks: Number(blocks) }
  return kind === 'online' && refused !== undefined
    ? {
        ...{ step, kind, blocks: Number(blocks) },
        ...{ refused: Number(refused), errno: Number(errno) },
      }
    : undefined
}
