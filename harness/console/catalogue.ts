import { patternOf } from './format.ts'
import type { Outcome, Stage } from './outcome.ts'

/** What a message says about TDX. */
export interface Meaning {
  readonly outcome?: Outcome
  readonly stage?: Stage
  /** Which argument of the message holds what, by position. */
  readonly arguments?: readonly Argument[]
}

export type Argument =
  | 'keyid-start'
  | 'keyid-end'
  | 'errno'
  | 'pamt-kib'
  | 'leaf'
  | 'status'
  | 'tdmr-start'
  | 'tdmr-end'
  | 'none'

/** A message of the kernel, in the words of its source. */
export interface Message extends Meaning {
  /** pr_fmt() of the file it comes from. */
  readonly prefix: string
  /** The format string, without prefix and line feed. */
  readonly format: string
}

const UPSTREAM = 'virt/tdx: '

/**
 * TDX messages of Linux 6.8 to 6.19, from arch/x86/virt/vmx/tdx/tdx.c. One row
 * a format string; a new kernel's message is a new row.
 */
export const MESSAGES: readonly Message[] = [
  {
    prefix: UPSTREAM,
    format: 'BIOS enabled: private KeyID range [%u, %u)',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  {
    prefix: UPSTREAM,
    format: 'initialization failed: too few private KeyIDs available.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    prefix: UPSTREAM,
    format: 'initialization failed: Hibernation support is enabled',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    prefix: UPSTREAM,
    format: 'initialization failed: register_memory_notifier() failed (%d)',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['errno'],
  },
  {
    prefix: UPSTREAM,
    format: 'Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.',
  },
  {
    prefix: UPSTREAM,
    format: 'module not loaded',
    outcome: 'failed',
    stage: 'sys-init',
  },
  {
    prefix: UPSTREAM,
    format: 'SEAMCALL (0x%016llx) failed: 0x%016llx',
    outcome: 'failed',
    arguments: ['leaf', 'status'],
  },
  {
    prefix: UPSTREAM,
    format: 'RCX 0x%016llx RDX 0x%016llx R08 0x%016llx',
  },
  {
    prefix: UPSTREAM,
    format: 'R09 0x%016llx R10 0x%016llx R11 0x%016llx',
  },
  {
    prefix: UPSTREAM,
    format: 'initialization failed: TDMRs exhausted.',
    outcome: 'failed',
    stage: 'tdmrs',
  },
  {
    prefix: UPSTREAM,
    format: 'consumed TDMRs reaching limit: %d used out of %d',
  },
  {
    prefix: UPSTREAM,
    format:
      'TDMR [0x%llx, 0x%llx): unable to find local NUMA node for PAMT allocation, fallback to use node 0.',
  },
  {
    prefix: UPSTREAM,
    format:
      'initialization failed: TDMR [0x%llx, 0x%llx): reserved areas exhausted.',
    outcome: 'failed',
    stage: 'reserved-areas',
    arguments: ['tdmr-start', 'tdmr-end'],
  },
  {
    prefix: UPSTREAM,
    format: '%lu KB allocated for PAMT',
    arguments: ['pamt-kib'],
  },
  {
    prefix: UPSTREAM,
    format: 'module initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    prefix: UPSTREAM,
    format: 'module initialized',
    outcome: 'initialized',
    stage: 'done',
  },
]

interface Compiled {
  readonly message: Message
  readonly pattern: RegExp
}

const COMPILED: readonly Compiled[] = MESSAGES.map(message => ({
  message,
  pattern: patternOf(message.prefix + message.format),
}))

/** Every TDX message starts with one of these. */
export const TDX_PREFIX = /^(?:virt\/)?tdx: /

/** A message that was found, with its arguments as printed. */
export interface KnownMessage {
  readonly message: Message
  readonly values: readonly string[]
}

/** Looks a console text up; undefined when no kernel we know says this. */
export const lookUp = (text: string): KnownMessage | undefined => {
  if (!TDX_PREFIX.test(text)) return undefined
  for (const { message, pattern } of COMPILED) {
    const match = pattern.exec(text)
    if (match) return { message, values: match.slice(1) }
  }
  return undefined
}
