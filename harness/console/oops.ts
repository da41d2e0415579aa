import type { Record } from './record.ts'

/** Something the kernel complains about by itself. */
export interface Incident {
  readonly kind: 'panic' | 'oops' | 'lockup' | 'out-of-memory' | 'warning'
  readonly line: number
  readonly text: string
}

/** How a complaint begins. The first row that matches names it. */
const SIGNS: readonly (readonly [Incident['kind'], RegExp])[] = [
  ['panic', /^Kernel panic - not syncing/],
  // early_panic() and the decompressor speak without the usual words.
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
  const sign = SIGNS.find(([, pattern]) => pattern.test(record.text))
  return sign && { kind: sign[0], line: record.line, text: record.text }
}

/** After these the kernel does nothing more that counts. */
export const isFatal = (incident: Incident): boolean =>
  incident.kind === 'panic' || incident.kind === 'oops'
