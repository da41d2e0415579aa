import type { Outcome, Stage } from '../tdx/outcome.ts'

/** What a message says about TDX. */
export interface Meaning {
  readonly outcome?: Outcome
  readonly stage?: Stage
  /** It is said by a kernel inside of a TD, which is no host. */
  readonly guest?: true
  /** Which argument of the message holds what, by position. */
  readonly arguments?: readonly Argument[]
}

export type Argument =
  | 'keyid-start'
  | 'keyid-end'
  | 'errno'
  | 'pamt-kib'
  | 'pamt-pages'
  | 'leaf'
  /** Printed with %llu. */
  | 'leaf-decimal'
  /** `TDH_MNG_CREATE`. */
  | 'leaf-name'
  | 'status'
  | Register
  /** The TDMR or region that a failure names. */
  | 'failed-start'
  | 'failed-end'
  | 'region-start'
  /** The last byte, as the kernel prints ranges of memory. */
  | 'region-last'
  | 'region-node'
  | 'region-count'
  | 'cmr-name'
  | 'cmr-start'
  | 'cmr-end'
  | 'major'
  | 'minor'
  | 'update'
  | 'build-number'
  | 'build-date'
  /** Printed with %x. */
  | 'build-date-hex'
  | 'none'

/** Registers in which a SEAMCALL returns what it has to say. */
export const REGISTERS = ['rcx', 'rdx', 'r8', 'r9', 'r10', 'r11'] as const
export type Register = (typeof REGISTERS)[number]

/** A message as it stands in the kernel's source. */
export interface Row extends Meaning {
  /** The format string, without prefix and line feed. */
  readonly format: string
}
