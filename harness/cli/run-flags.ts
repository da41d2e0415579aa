import { Option } from 'commander'
import type { AccelChoice } from '../run/accelerator.ts'
import { flagName } from './options.ts'
import type { ReportFlags } from './report-files.ts'

/** What `--reporter` prints on stdout. */
const REPORTERS = ['pretty', 'tap', 'github'] as const

export const reporterOption = (): Option =>
  new Option('--reporter <name>', 'what is printed')
    .choices(REPORTERS)
    .default('pretty')

/** Options of `tdxrig run`. */
export interface RunFlags extends ReportFlags {
  readonly kernel?: readonly string[]
  readonly kernelBuild?: readonly string[]
  /** Names and labels of physical hosts; undefined: QEMU. */
  readonly host?: readonly string[]
  /** The inventory they are in. */
  readonly hosts?: string
  /** Print what would be executed for the hosts, and do nothing. */
  readonly dryRun?: boolean
  readonly filter?: readonly string[]
  readonly jobs?: number
  /** Boots of each case. */
  readonly repeat?: number
  /** Further boots of a case that does not pass. */
  readonly retries?: number
  /** Boots end when TDX is initialised, where nothing is asked behind that. */
  readonly stopAtOutcome?: boolean
  /**
   * Boots go on from snapshots of boots that began in the same way, and reads
   * of metadata do not stop guests.
   */
  readonly shortcuts: boolean
  /** Print only what does not pass. */
  readonly quiet?: boolean
  readonly out?: string
  /** Keep the result in the history, under this label. */
  readonly store?: string
  /** The folder of a run that was interrupted. */
  readonly resume?: string
  /** A folder for archives of what does not pass. */
  readonly bundle?: string
  /** The paths are such archives, and nothing is booted. */
  readonly rejudge?: boolean
  readonly reporter: (typeof REPORTERS)[number]
  readonly ascii?: boolean
  readonly accel: AccelChoice
}

/** Those of the options that the command line has, as they are written there. */
export const givenFlags = (
  flags: RunFlags,
  names: readonly (keyof RunFlags)[],
): string[] =>
  names.flatMap(name => {
    if (name === 'shortcuts') return flags.shortcuts ? [] : ['--no-shortcuts']
    return flags[name] === undefined ? [] : [flagName(name)]
  })
