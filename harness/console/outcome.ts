/** What became of TDX on a boot. */
export const OUTCOMES = [
  'initialized',
  'failed',
  'disabled',
  'not-enabled',
  'unfinished',
  'absent',
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Steps of TDX host initialisation, in order. */
export const STAGES = [
  'detect',
  'checks',
  'regions',
  'sys-init',
  'lp-init',
  'sys-info',
  'tdmrs',
  'pamt',
  'reserved-areas',
  'sys-config',
  'key-config',
  'tdmr-init',
  'done',
] as const
export type Stage = (typeof STAGES)[number]

/** The stage a failing SEAMCALL belongs to, by leaf number. */
export const STAGE_OF_LEAF: ReadonlyMap<number, Stage> = new Map([
  [33, 'sys-init'],
  [35, 'lp-init'],
  [32, 'sys-info'],
  [34, 'sys-info'],
  [37, 'sys-info'],
  [45, 'sys-config'],
  [31, 'key-config'],
  [36, 'tdmr-init'],
])
