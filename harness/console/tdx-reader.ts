import { KIB, PAGE_SIZE, PHYSICAL_LIMIT } from '../base/units.ts'
import { type KnownMessage, TDX_PREFIX, lookUp } from './catalogue.ts'
import { type Argument, REGISTERS } from './message.ts'
import type { TriggerResult } from '../guest/protocol.ts'
import type { FailedSeamcall, ModuleVersion, TdxFacts } from './facts.ts'
import { type Outcome, STAGE_OF_LEAF, type Stage } from '../tdx/outcome.ts'
import { leafByName } from '../tdx/decode.ts'
import { leafOf as leafOfRax } from '../tdx/leaves.ts'
import type { Range } from '../memory/range.ts'
import { own } from './lines.ts'
import type { LogRecord } from './log-record.ts'

/** Kept of lists that a hostile console could grow without end. */
const KEPT = 100
const KEPT_LINES = 400
const KEPT_RANGES = 4096

type Value = (name: Argument) => string | undefined

/** Folds the TDX lines of a console into one outcome. */
export class TdxReader {
  #facts: TdxFacts = {
    outcome: 'absent',
    stage: null,
    errno: null,
    keyids: null,
    pamtKib: null,
    module: null,
    failedRange: null,
    message: null,
    lastMessage: null,
    failedSeamcalls: [],
    regions: null,
    regionCount: null,
    cmrs: null,
    cmrName: null,
    lines: [],
    unknown: [],
    guest: false,
    at: { keyids: null, pamt: null, message: null, errno: null },
  }

  /** Takes a record; those that are not about TDX are ignored. */
  read(record: LogRecord): void {
    const known = lookUp(record.text)
    if (!known && !TDX_PREFIX.test(record.text)) return
    const text = own(record.text)
    if (known) this.#readKnown(lookUp(text)!, { ...record, text })
    else this.#readUnknown({ ...record, text })
  }

  /** The line that says so; null: none does. */
  get initializedAt(): number | null {
    const { outcome, at } = this.#facts
    return outcome === 'initialized' ? at.message : null
  }

  /** The outcome, given what the trigger module saw at its last try. */
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

  #readKnown({ message, values }: KnownMessage, record: LogRecord): void {
    this.#keepLine(record, true)
    const value: Value = name => values[message.arguments?.indexOf(name) ?? -1]
    if (message.prefixes.some(prefix => TDX_PREFIX.test(prefix)))
      this.#update({ lastMessage: record.text })
    if (message.guest) this.#update({ guest: true })
    else this.#conclude('unfinished', null, record)
    this.#readNumbers(value, record.line)
    this.#readRanges(value, record.line)
    this.#readModule(value, record.line)
    const failed = this.#readSeamcall(value, record.line)
    if (failed) this.#seamcallFailed(failed, record)
    else if (message.outcome)
      this.#conclude(
        message.outcome,
        message.stage ?? null,
        record,
        value('errno'),
      )
  }

  /** A kernel we do not know said something: that is more than nothing. */
  #readUnknown(record: LogRecord): void {
    this.#keepLine(record, false)
    if (this.#facts.unknown.length < KEPT)
      this.#update({ unknown: [...this.#facts.unknown, record.text] })
    this.#conclude('unfinished', null, record)
  }

  #keepLine({ line, text }: LogRecord, known: boolean): void {
    const { lines } = this.#facts
    if (lines.length < KEPT_LINES)
      this.#update({ lines: [...lines, { line, text, known }] })
  }

  /** Leaves of TDs, and calls once the module runs, do not fail it. */
  #seamcallFailed({ leaf }: FailedSeamcall, record: LogRecord): void {
    const stage = STAGE_OF_LEAF.get(leaf)
    if (stage && this.#facts.outcome !== 'initialized')
      this.#conclude('failed', stage, record)
  }

  /** What a message says replaces what is known, where it says more. */
  #conclude(
    outcome: Outcome,
    stage: Stage | null,
    record: LogRecord,
    errno?: string,
  ): void {
    const { outcome: before, stage: place, message } = this.#facts
    // The code of guests speaks with the same prefix, and of another thing.
    if (outcome === 'unfinished' && this.#facts.guest) return
    // That KeyIDs were announced is news only once.
    if (outcome === 'unfinished' && before !== 'absent') {
      if (stage && before === 'unfinished' && place === null)
        this.#decide(outcome, stage, record)
      return
    }
    // A summary such as "initialization failed (-28)" names no stage of its
    // own: the line before it did.
    const summary = outcome === 'failed' && stage === null
    const off = outcome === 'disabled' || outcome === 'not-enabled'
    if (!summary) {
      // Once it was tried or given up, that is repeated, or is KVM's word.
      if (!off || before === 'absent' || before === 'unfinished')
        this.#decide(outcome, stage, record)
      return
    }
    // It was turned off before, or it works and somebody else complains.
    if (before === 'disabled' || before === 'not-enabled') return
    if (before === 'initialized' && errno === undefined) return
    if (before === 'failed' && message !== null)
      this.#update({ stage: place ?? this.#silentStage() })
    else this.#decide('failed', this.#silentStage(), record)
  }

  #decide(outcome: Outcome, stage: Stage | null, record: LogRecord): void {
    const { at, message, ...before } = this.#facts
    // The line that says it first is the one to look at.
    const again = outcome === before.outcome && stage === before.stage
    if (again && record.text === message) return
    // Whatever failed before it: another attempt worked.
    const works = outcome === 'initialized'
    this.#update({
      outcome,
      stage,
      message: record.text,
      ...(works && { errno: null, failedRange: null }),
      at: { ...at, message: record.line, ...(works && { errno: null }) },
    })
  }

  /**
   * The stage of a failure that only gave its errno. PAMT allocation is the
   * one step of init_tdx_module() that fails with -ENOMEM without a line.
   */
  #silentStage(): Stage | null {
    return this.#facts.errno === -12 ? 'pamt' : null
  }

  #readNumbers(value: Value, line: number): void {
    const [start, end] = [value('keyid-start'), value('keyid-end')]
    const keyids = [countOf(start), countOf(end)] as const
    if (isPair(keyids))
      this.#update({
        keyids,
        at: { ...this.#facts.at, keyids: line },
      })
    const errno = Number(value('errno'))
    if (errno < 0 && errno >= -MAX_ERRNO)
      this.#update({
        errno,
        at: { ...this.#facts.at, errno: line },
      })
    const pamtKib = pamtOf(value)
    if (pamtKib !== undefined)
      this.#update({ pamtKib, at: { ...this.#facts.at, pamt: line } })
    const count = countOf(value('region-count'))
    if (count !== undefined) this.#update({ regionCount: count })
    const failed = rangeOf(value, 'failed-start', 'failed-end')
    if (failed) this.#update({ failedRange: failed })
  }

  #readRanges(value: Value, line: number): void {
    const { regions, cmrs, cmrName } = this.#facts
    const region = rangeOf(value, 'region-start', 'region-last')
    if (region && (regions?.length ?? 0) < KEPT_RANGES)
      this.#update({
        regions: [
          ...(regions ?? []),
          {
            start: region.start,
            end: region.end + 1,
            line,
            node: Number(value('region-node')),
          },
        ],
      })
    const cmr = rangeOf(value, 'cmr-start', 'cmr-end')
    if (!cmr || !isPhysical(cmr)) return
    // v3 prints the firmware's CMRs, and then those of them it took, under
    // another name. Unused entries of the array are printed as [0x0, 0x0).
    const name = value('cmr-name') ?? null
    const before = name === cmrName ? (cmrs ?? []) : []
    const located = cmr.start === cmr.end ? [] : [{ ...cmr, line }]
    if (before.length < KEPT)
      this.#update({ cmrName: name, cmrs: [...before, ...located] })
  }

  #readModule(value: Value, line: number): void {
    const decimal = (name: Argument): number | null =>
      countOf(value(name)) ?? null
    const [major, minor] = [decimal('major'), decimal('minor')]
    if (major === null || minor === null) return
    const date = value('build-date-hex')
    const module: ModuleVersion = {
      major,
      minor,
      update: decimal('update'),
      buildNumber: decimal('build-number'),
      buildDate:
        date === undefined
          ? decimal('build-date')
          : (countOf(`0x${date}`) ?? null),
    }
    this.#update({ module: { ...module, line } })
  }

  /** A call that failed, or registers of the one before. */
  #readSeamcall(value: Value, line: number): FailedSeamcall | undefined {
    const { failedSeamcalls } = this.#facts
    const registers = Object.fromEntries(
      REGISTERS.flatMap(name => {
        const text = value(name)
        return text === undefined ? [] : [[name, BigInt(`0x${text}`)]]
      }),
    )
    const leaf = leafOf(value)
    const status = value('status')
    if (leaf !== undefined && status !== undefined) {
      const failed = { leaf, status: BigInt(`0x${status}`), line, registers }
      if (failedSeamcalls.length < KEPT)
        this.#update({ failedSeamcalls: [...failedSeamcalls, failed] })
      return failed
    }
    const last = failedSeamcalls.at(-1)
    if (last && Object.keys(registers).length > 0)
      this.#update({
        failedSeamcalls: failedSeamcalls.with(-1, {
          ...last,
          registers: { ...last.registers, ...registers },
        }),
      })
    return undefined
  }

  #update(change: Partial<TdxFacts>): void {
    this.#facts = { ...this.#facts, ...change }
  }
}

/** Undefined for what is too large to be true. */
const countOf = (text: string | undefined): number | undefined => {
  const count = Number(text)
  return Number.isSafeInteger(count) && count <= MAX_COUNT ? count : undefined
}

/** include/linux/err.h */
const MAX_ERRNO = 4095

/** The kernel counts in 32 bits, and pages in less than 52. */
const MAX_COUNT = 2 ** 40

const isPair = (
  pair: readonly [number | undefined, number | undefined],
): pair is readonly [number, number] =>
  pair[0] !== undefined && pair[1] !== undefined

const isPhysical = ({ end }: Range): boolean => end <= PHYSICAL_LIMIT

const pamtOf = (value: Value): number | undefined => {
  const pages = countOf(value('pamt-pages'))
  return pages === undefined
    ? countOf(value('pamt-kib'))
    : (pages * PAGE_SIZE) / KIB
}

const leafOf = (value: Value): number | undefined => {
  const [hexadecimal, decimal] = [value('leaf'), value('leaf-decimal')]
  const name = value('leaf-name')
  if (name !== undefined) return leafByName(name)
  if (hexadecimal === undefined) return countOf(decimal)
  const rax = BigInt(`0x${hexadecimal}`)
  return rax >> 63n === 0n ? countOf(`0x${hexadecimal}`) : leafOfRax(rax)
}

const rangeOf = (
  value: Value,
  start: Argument,
  end: Argument,
): { start: number; end: number } | undefined => {
  const [first, last] = [value(start), value(end)]
  return first === undefined || last === undefined
    ? undefined
    : { start: parseInt(first, 16), end: parseInt(last, 16) }
}
