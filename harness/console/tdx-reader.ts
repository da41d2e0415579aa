import { KIB, PAGE_SIZE } from '../base/units.ts'
import { type Argument, TDX_PREFIX, lookUp } from './catalogue.ts'
import type { FailedSeamcall, TdxFacts, TriggerResult } from './facts.ts'
import { STAGE_OF_LEAF, type Stage } from './outcome.ts'
import type { Record } from './record.ts'

/** Kept of lists that a hostile console could grow without end. */
const KEPT = 100
const KEPT_RANGES = 4096

/** Folds the TDX lines of a console into one outcome. */
export class TdxReader {
  #facts: TdxFacts = {
    outcome: 'absent',
    stage: null,
    errno: null,
    keyids: null,
    pamtKib: null,
    failedRange: null,
    message: null,
    lastMessage: null,
    failedSeamcalls: [],
    regions: null,
    regionCount: null,
    cmrs: null,
    cmrName: null,
    unknown: [],
  }

  /** Takes a record; those that are not about TDX are ignored. */
  read(record: Record): void {
    const known = lookUp(record.text)
    if (!known) {
      if (TDX_PREFIX.test(record.text)) this.#keepUnknown(record.text)
      return
    }
    const { message, values } = known
    this.#update({ lastMessage: record.text })
    const value = (name: Argument): string | undefined =>
      values[message.arguments?.indexOf(name) ?? -1]
    this.#readKeyids(value)
    this.#readNumbers(value)
    this.#readRanges(value)
    const failed = failedSeamcall(value, record.line)
    if (failed && this.#facts.failedSeamcalls.length < KEPT)
      this.#update({
        failedSeamcalls: [...this.#facts.failedSeamcalls, failed],
      })
    if (!message.outcome) return
    const stage = failed ? STAGE_OF_LEAF.get(failed.leaf) : message.stage
    // A summary such as "initialization failed (-28)" names no stage of its
    // own: the line before it did.
    const summary = message.outcome === 'failed' && !stage
    this.#update({
      outcome: message.outcome,
      stage: stage ?? (summary ? this.#failedStage() : null),
      message:
        summary && this.#facts.outcome === 'failed'
          ? this.#facts.message
          : record.text,
    })
  }

  /** The outcome, given what the trigger module saw. */
  facts(trigger: TriggerResult | null): TdxFacts {
    const facts = this.#facts
    // The first that failed; a function that was not called is null.
    const errno = (trigger && (trigger.cpuEnable ?? 0)) || trigger?.enable
    if (!errno) return facts
    // Silent failures: #GP and #UD on the first SEAMCALL, and -ENODEV, leave
    // nothing in the log but the caller's return value.
    if (facts.outcome === 'unfinished')
      return {
        ...facts,
        outcome: 'failed',
        stage: trigger.cpuEnable ? 'sys-init' : null,
        errno,
      }
    return facts.outcome === 'failed' && facts.errno === null
      ? { ...facts, errno }
      : facts
  }

  /**
   * The stage of a failure that only gave its errno. PAMT allocation is the
   * one step of init_tdx_module() that fails with -ENOMEM without a line.
   */
  #failedStage(): Stage | null {
    if (this.#facts.outcome === 'failed') return this.#facts.stage
    return this.#facts.errno === -12 ? 'pamt' : null
  }

  #readKeyids(value: (name: Argument) => string | undefined): void {
    const start = value('keyid-start')
    const end = value('keyid-end')
    if (start !== undefined && end !== undefined)
      this.#update({ keyids: [Number(start), Number(end)] })
  }

  #readNumbers(value: (name: Argument) => string | undefined): void {
    const errno = value('errno')
    const pamt = value('pamt-kib')
    const pages = value('pamt-pages')
    const count = value('region-count')
    const start = value('failed-start')
    const end = value('failed-end')
    if (errno !== undefined) this.#update({ errno: Number(errno) })
    if (pamt !== undefined) this.#update({ pamtKib: Number(pamt) })
    if (pages !== undefined)
      this.#update({ pamtKib: (Number(pages) * PAGE_SIZE) / KIB })
    if (count !== undefined) this.#update({ regionCount: Number(count) })
    if (start !== undefined && end !== undefined)
      this.#update({
        failedRange: { start: parseInt(start, 16), end: parseInt(end, 16) },
      })
  }

  #readRanges(value: (name: Argument) => string | undefined): void {
    const { regions, cmrs } = this.#facts
    const start = value('region-start')
    if (start !== undefined && (regions?.length ?? 0) < KEPT_RANGES)
      this.#update({
        regions: [
          ...(regions ?? []),
          {
            start: parseInt(start, 16),
            end: parseInt(value('region-last') ?? '', 16) + 1,
            node: Number(value('region-node')),
          },
        ],
      })
    const base = value('cmr-start')
    if (base !== undefined && (cmrs?.length ?? 0) < KEPT)
      this.#update({
        cmrName: value('cmr-name') ?? null,
        cmrs: [
          ...(cmrs ?? []),
          {
            start: parseInt(base, 16),
            end: parseInt(value('cmr-end') ?? '', 16),
          },
        ],
      })
  }

  #keepUnknown(text: string): void {
    if (this.#facts.unknown.length < KEPT)
      this.#update({ unknown: [...this.#facts.unknown, text] })
  }

  #update(change: Partial<TdxFacts>): void {
    this.#facts = { ...this.#facts, ...change }
  }
}

const failedSeamcall = (
  value: (name: Argument) => string | undefined,
  line: number,
): FailedSeamcall | undefined => {
  const leaf = value('leaf')
  const status = value('status')
  if (leaf === undefined || status === undefined) return undefined
  return { leaf: parseInt(leaf, 16), status: BigInt(`0x${status}`), line }
}
