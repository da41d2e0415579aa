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
  | 'pamt-pages'
  | 'leaf'
  | 'status'
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
  | 'none'

/** A message of the kernel, in the words of its source. */
export interface Message extends Meaning {
  /** pr_fmt() of the file it comes from. */
  readonly prefix: string
  /** The format string, without prefix and line feed. */
  readonly format: string
}

type Row = Omit<Message, 'prefix'>

/** Of our patches, which print the region list in every lineage. */
const REGION_MESSAGES: readonly Row[] = [
  {
    format: 'TDX memory region: [mem %#018llx-%#018llx] node %d',
    arguments: ['region-start', 'region-last', 'region-node'],
  },
  {
    format: 'TDX memory regions: %u',
    arguments: ['region-count'],
  },
]

/** The v6 series and our patches that bring it to 6.1. */
const V6_MESSAGES: readonly Row[] = [
  {
    format: 'TDX enabled by BIOS. TDX private KeyID range: [%u, %u)',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  {
    format: "Disable TDX as there's only one TDX private KeyID available.",
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Disable TDX as X2APIC is not enabled.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'Build TDX-usable memory regions failed. Disable TDX.',
    outcome: 'disabled',
    stage: 'regions',
  },
  {
    format: "Unable to initialize the TDX module when there's offline CPU(s).",
    outcome: 'failed',
    stage: 'checks',
  },
  {
    format: 'TDX module is not loaded.',
    outcome: 'failed',
    stage: 'sys-init',
  },
  {
    format: 'Failed to initialize TDX module.  Shut it down.',
    outcome: 'failed',
  },
  {
    format:
      'TDX module: atributes 0x%x, vendor_id 0x%x, major_version %u, minor_version %u, build_date %u, build_num %u',
  },
  {
    format: '%s : [0x%llx, 0x%llx)',
    arguments: ['cmr-name', 'cmr-start', 'cmr-end'],
  },
  {
    format: 'Firmware bug: CMRs not in address ascending order.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: 'Firmware bug: invalid CMR(s) before valid CMRs.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: 'Firmware bug: No valid CMR.',
    outcome: 'failed',
    stage: 'sys-info',
  },
  {
    format: '[0x%llx, 0x%llx) is not fully convertible memory',
    outcome: 'failed',
    stage: 'sys-info',
    arguments: ['failed-start', 'failed-end'],
  },
  {
    format: '%lu pages allocated for PAMT.',
    arguments: ['pamt-pages'],
  },
  {
    format: 'TDX module initialized.',
    outcome: 'initialized',
    stage: 'done',
  },
]

/** Linux 6.8 to 6.19, arch/x86/virt/vmx/tdx/tdx.c. */
const UPSTREAM_MESSAGES: readonly Row[] = [
  {
    format: 'BIOS enabled: private KeyID range [%u, %u)',
    outcome: 'unfinished',
    stage: 'detect',
    arguments: ['keyid-start', 'keyid-end'],
  },
  {
    format: 'initialization failed: too few private KeyIDs available.',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'initialization failed: Hibernation support is enabled',
    outcome: 'disabled',
    stage: 'checks',
  },
  {
    format: 'initialization failed: register_memory_notifier() failed (%d)',
    outcome: 'disabled',
    stage: 'checks',
    arguments: ['errno'],
  },
  {
    format: 'Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.',
  },
  {
    format: 'module not loaded',
    outcome: 'failed',
    stage: 'sys-init',
  },
  {
    format: 'SEAMCALL (0x%016llx) failed: 0x%016llx',
    outcome: 'failed',
    arguments: ['leaf', 'status'],
  },
  {
    format: 'RCX 0x%016llx RDX 0x%016llx R08 0x%016llx',
  },
  {
    format: 'R09 0x%016llx R10 0x%016llx R11 0x%016llx',
  },
  {
    format: 'initialization failed: TDMRs exhausted.',
    outcome: 'failed',
    stage: 'tdmrs',
  },
  {
    format: 'consumed TDMRs reaching limit: %d used out of %d',
  },
  {
    format:
      'TDMR [0x%llx, 0x%llx): unable to find local NUMA node for PAMT allocation, fallback to use node 0.',
  },
  {
    format:
      'initialization failed: TDMR [0x%llx, 0x%llx): reserved areas exhausted.',
    outcome: 'failed',
    stage: 'reserved-areas',
    arguments: ['failed-start', 'failed-end'],
  },
  {
    // v14 and kernels of distributions; mainline prints no CMRs.
    format: 'CMR: [0x%llx, 0x%llx)',
    arguments: ['cmr-start', 'cmr-end'],
  },
  {
    format: '%lu KB allocated for PAMT',
    arguments: ['pamt-kib'],
  },
  {
    format: 'module initialization failed (%d)',
    outcome: 'failed',
    arguments: ['errno'],
  },
  {
    format: 'module initialized',
    outcome: 'initialized',
    stage: 'done',
  },
]

/**
 * TDX messages of the kernels we know. One row a format string, exactly as it
 * stands in the source; a new kernel's message is a new row.
 */
export const MESSAGES: readonly Message[] = [
  ...[...UPSTREAM_MESSAGES, ...REGION_MESSAGES].map(row => ({
    prefix: 'virt/tdx: ',
    ...row,
  })),
  ...[...V6_MESSAGES, ...REGION_MESSAGES].map(row => ({
    prefix: 'tdx: ',
    ...row,
  })),
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
