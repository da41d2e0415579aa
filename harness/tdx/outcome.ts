import { LEAF } from './leaves.ts'

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
  [LEAF.SYS_INIT, 'sys-init'],
  [LEAF.SYS_LP_INIT, 'lp-init'],
  [LEAF.SYS_INFO, 'sys-info'],
  [LEAF.SYS_RD, 'sys-info'],
  [LEAF.SYS_RDALL, 'sys-info'],
  [LEAF.SYS_CONFIG, 'sys-config'],
  [LEAF.SYS_KEY_CONFIG, 'key-config'],
  [LEAF.SYS_TDMR_INIT, 'tdmr-init'],
])
