import type { Record } from './record.ts'

/** Something the kernel complains about by itself. */
export interface Incident {
  readonly kind: 'panic' | 'oops' | 'lockup' | 'out-of-memory' | 'warning'
  readonly line: number
  readonly text: string
}

/** How a complaint begins. The first row that matches names it. */
const SIGNS: readonly (readonly [Incident['kind'], RegExp])[] = [
  // early_panic() leaves its text on the line without a line feed.
  ['panic', /Kernel panic - not syncing/],
  ['panic', /^PANIC: early exception/],
  ['oops', /^(?:BUG: (?!soft lockup)|kernel BUG at |Oops: )/],
  ['oops', /^(?:general protection fault|double fault|traps: PANIC)/],
  ['oops', /^Internal error/],
  ['lockup', /^watchdog: BUG: soft lockup/],
  ['lockup', /^rcu: INFO: rcu_\w+ (?:self-)?detected stall/],
  ['lockup', /^INFO: (?:rcu_\w+ (?:self-)?detected|task .* blocked for more)/],
  ['out-of-memory', /^Out of memory: /],
  ['warning', /^WARNING: /],
]

/** @returns what a record reports, if it reports trouble */
export const detectIncident = (record: Record): Incident | undefined => {
  if (isPanicEnd(record)) return undefined
  const sign = SIGNS.find(([, pattern]) => pattern.test(record.text))
  return sign && { kind: sign[0], line: record.line, text: record.text }
}

/** The last words of panic() (kernel/panic.c). */
export const isPanicEnd = (record: Record): boolean =>
  record.text.startsWith('---[ end Kernel panic')
