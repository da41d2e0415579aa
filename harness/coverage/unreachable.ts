import type { SeriesName } from '../tdx/series/index.ts'

/** Code that no boot can reach without KVM, and why. */
export interface Unreachable {
  /** Kernels of these series. */
  readonly series: readonly SeriesName[]
  /** The end of the file's path: `tdx.c`. */
  readonly file: string
  readonly functions: readonly string[]
  /** Lines by their text; undefined: the whole function. */
  readonly lines?: readonly string[]
  readonly why: string
}

export const UNREACHABLE: readonly Unreachable[] = []
