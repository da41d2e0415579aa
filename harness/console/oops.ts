import { own } from './lines.ts'
import { Openings } from './openings.ts'
import type { LogRecord } from './log-record.ts'

/** Something the kernel complains about by itself. */
export interface Incident {
  readonly kind:
    'panic' | 'oops' | 'lockup' | 'machine check' | 'out-of-memory' | 'warning'
  readonly line: number
  readonly text: string
}

interface Sign {
  readonly kind: Incident['kind']
  readonly opening: string
  /** Left out where the opening says it all. */
  readonly matches?: (text: string) => boolean
}

/** Anywhere in a line. */
export const PANIC = 'Kernel panic - not syncing'
/** The last words of panic() (kernel/panic.c). */
export const PANIC_END = new Openings([{ opening: '---[ end Kernel panic' }])

const RCU_STALL = /^(?:rcu: )?INFO: rcu_\w+ (?:self-)?detected/
/** The name of a task may hold anything, also blanks. */
const BLOCKED = ' blocked for more than '

/** How a complaint begins. The first row that matches names it. */
export const SIGNS = new Openings<Sign>([
  { kind: 'panic', opening: 'PANIC: early exception' },
  { kind: 'lockup', opening: 'BUG: soft lockup' },
  { kind: 'oops', opening: 'BUG: ' },
  { kind: 'oops', opening: 'kernel BUG at ' },
  { kind: 'oops', opening: 'Oops: ' },
  { kind: 'oops', opening: 'general protection fault' },
  { kind: 'oops', opening: 'double fault' },
  { kind: 'oops', opening: 'traps: PANIC' },
  { kind: 'oops', opening: 'Internal error' },
  { kind: 'lockup', opening: 'watchdog: BUG: soft lockup' },
  { kind: 'lockup', opening: 'watchdog: Watchdog detected hard LOCKUP' },
  { kind: 'lockup', opening: 'NMI watchdog: Watchdog detected hard LOCKUP' },
  {
    kind: 'lockup',
    opening: 'watchdog: CPU',
    matches: text => /^watchdog: CPU\d+: Watchdog detected hard/.test(text),
  },
  ...['rcu: INFO: ', 'INFO: rcu_'].map(opening => ({
    kind: 'lockup' as const,
    opening,
    matches: (text: string) => RCU_STALL.test(text),
  })),
  {
    kind: 'lockup',
    opening: 'INFO: task ',
    matches: text => text.includes(BLOCKED),
  },
  // tdx_dump_mce_info(): of others the panic says all.
  {
    kind: 'machine check',
    opening: 'mce: [Hardware Error]: Machine check: TDX private memory error',
  },
  { kind: 'out-of-memory', opening: 'Memory cgroup out of memory: ' },
  { kind: 'out-of-memory', opening: 'Out of memory: ' },
  { kind: 'warning', opening: 'WARNING: ' },
])

/** @returns what a record reports, if it reports trouble */
export const detectIncident = (record: LogRecord): Incident | undefined => {
  const { line, text } = record
  // early_panic() leaves its text on the line without a line feed.
  if (text.includes(PANIC))
    return isPanicEnd(record)
      ? undefined
      : { kind: 'panic', line, text: own(text) }
  const sign = SIGNS.for(text).find(
    ({ opening, matches }) =>
      text.startsWith(opening) && matches?.(text) !== false,
  )
  return sign && { kind: sign.kind, line, text: own(text) }
}

export const isPanicEnd = ({ text }: LogRecord): boolean =>
  PANIC_END.of(text) !== undefined
