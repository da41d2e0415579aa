import { MIB } from '../../base/units.ts'
import type { CellClass } from '../../night/decide.ts'
import { chance } from './chance.ts'

/** What can go wrong in a night; each of them is made to. */
export const FAULTS = [
  'worker killed',
  'machine lost',
  'database away',
  'disk full',
  'clock jumps',
  'host dies',
] as const
export type Fault = (typeof FAULTS)[number]

/** A server that can be killed. */
export interface Server {
  readonly url: string
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

export interface WeekOptions {
  readonly server: Server
  /** A short private folder. */
  readonly folder: string
  readonly seed: string
  readonly nights: number
  readonly hosts: number
  readonly workers: number
  readonly cases: number
  /** Every case on each host, or on one of them. */
  readonly spread: 'any' | 'each'
  readonly bootMs: number
  /** Milliseconds for which the database is away. */
  readonly awayMs: number
  readonly faults: readonly Fault[]
  readonly onLog: (text: string) => void
}

/** What a night has shown, against what was made to happen. */
export interface NightCheck {
  readonly classes: Readonly<Partial<Record<CellClass, number>>>
  readonly boots: number
  /** Boots that a worker has judged, and whose result is nowhere. */
  readonly lost: readonly string[]
  /** Boots that were stored more than once. */
  readonly twice: readonly string[]
  /** Cells whose class is not what their boots say or their kernel is. */
  readonly wrong: readonly string[]
  /** Hosts in a test boot that a worker could have given back. */
  readonly away: readonly string[]
  /** Faults that the morning does not tell. */
  readonly untold: readonly Fault[]
  readonly seconds: number
}

/** What happens to kernels of the week: most pass, a few fail, some at times. */
export const natureOf = (seed: string, id: string): number => {
  const draw = chance(seed, 'nature', id)
  if (draw < 0.01) return 1
  return draw < 0.03 ? 0.4 : 0
}

export const ERROR_RATE = 0.01
/** The made disk: what is left of it, and what a worker needs. */
export const ROOM = 8 * MIB
