import type { AccelChoice } from '../run/accelerator.ts'

/** Options of `tdxrig run`. */
export interface RunFlags {
  readonly kernel?: readonly string[]
  readonly kernelBuild?: readonly string[]
  readonly filter?: readonly string[]
  readonly jobs?: number
  readonly out?: string
  readonly json?: string
  /** A folder for archives of what does not pass. */
  readonly bundle?: string
  /** The paths are such archives, and nothing is booted. */
  readonly rejudge?: boolean
  readonly reporter: 'pretty' | 'tap'
  readonly accel: AccelChoice
}
