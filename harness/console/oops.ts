import { Openings } from './openings.ts'
import type { Record } from './record.ts'

/** Something the kernel complains about by itself. */
export interface Incident {
  readonly kind: 'panic' | 'oops' | 'lockup' | 'out-of-memory' | 'warning'
  readonly line: number
  readonly text: string
}

interface Sign {
  readonly kind: Incident['kind']
  readonly opening: string
  /** Left out where the opening says it all. */
  readonly pattern?: RegExp
}

const LAST_WORDS = '---[ end Kernel panic'
const PANIC = 'Kernel panic - not syncing'

const RCU_STALL = /rcu_\w+ (?:self-)?detected|task .* blocked for more/

/** How a complaint begins. The first row that matches names it. */
const SIGNS = new Openings<Sign>([
  { kind: 'panic', opening: 'PANIC: early exception' },
  { kind: 'oops', opening: 'BUG: ', pattern: /^BUG: (?!soft lockup)/ },
  { kind: 'lockup', opening: 'BUG: soft lockup' },
  { kind: 'oops', opening: 'kernel BUG at ' },
  { kind: 'oops', opening: 'Oops: ' },
  { kind: 'oops', opening: 'general protection fault' },
  { kind: 'oops', opening: 'double fault' },
  { kind: 'oops', opening: 'traps: PANIC' },
  { kind: 'oops', opening: 'Internal error' },
  { kind: 'lockup', opening: 'watchdog: BUG: soft lockup' },
  { kind: 'lockup', opening: 'watchdog: Watchdog detected hard LOCKUP' },
  { kind: 'lockup', opening: 'NMI watchdog: Watchdog detected hard LOCKUP' },
  { kind: 'lockup', opening: 'rcu: INFO: ', pattern: RCU_STALL },
  { kind: 'lockup', opening: 'INFO: ', pattern: RCU_STALL },
  { kind: 'out-of-memory', opening: 'Out of memory: ' },
  { kind: 'warning', opening: 'WARNING: ' },
])

/** @returns what a record reports, if it reports trouble */
export const detectIncident = (record: Record): Incident | undefined => {
  const { line, text } = record
  // early_panic() leaves its text on the line without a line feed.
  if (text.includes(PANIC))
    return isPanicEnd(record) ? undefined : { kind: 'panic', line, text }
  const sign = SIGNS.for(text).find(
    ({ opening, pattern }) =>
      text.startsWith(opening) && (!pattern || pattern.test(text)),
  )
  return sign && { kind: sign.kind, line, text }
}

/** The last words of panic() (kernel/panic.c). */
export const isPanicEnd = ({ text }: Record): boolean =>
  text.startsWith(LAST_WORDS)
