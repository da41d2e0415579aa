import { Openings } from './openings.ts'
import { patternOf } from './format.ts'
import { KVM_MESSAGES, OTHER_MESSAGES } from './messages-kvm.ts'
import { OLDER_MESSAGES } from './messages-older.ts'
import { REGION_MESSAGES, UPSTREAM_MESSAGES } from './messages-upstream.ts'
import type { Row } from './message.ts'

export interface Message extends Row {
  /** What pr_fmt() of its files puts before it, in one kernel or another. */
  readonly prefixes: readonly string[]
}

const UPSTREAM = 'virt/tdx: '
const OLDER = 'tdx: '
const SEAMLDR = 'seamldr: '

const withPrefixes = (
  rows: readonly Row[],
  ...prefixes: readonly string[]
): Message[] => rows.map(row => ({ ...row, prefixes }))

/**
 * TDX messages of the kernels we know. One row a format string, exactly as it
 * stands in the source; a new kernel's message is a new row.
 */
export const MESSAGES: readonly Message[] = [
  ...withPrefixes(UPSTREAM_MESSAGES, UPSTREAM),
  ...withPrefixes(OLDER_MESSAGES, OLDER),
  ...withPrefixes(REGION_MESSAGES, UPSTREAM, OLDER),
  ...withPrefixes(KVM_MESSAGES, 'kvm_intel: '),
  ...withPrefixes(OTHER_MESSAGES, ''),
]

interface Compiled {
  readonly message: Message
  readonly pattern: RegExp
}

const compiled = (wanted: (prefix: string) => boolean): Compiled[] =>
  MESSAGES.filter(({ prefixes }) => prefixes.some(wanted)).map(message => ({
    message,
    pattern: patternOf(message.format),
  }))

/** What begins alike is looked up among the same messages. */
interface Family {
  readonly opening: string
  /** Of the opening, what is no part of the formats. */
  readonly prefix: number
  readonly messages: readonly Compiled[]
}

const OF_TDX = compiled(prefix => prefix.endsWith(OLDER))
const OF_KVM = compiled(prefix => prefix.startsWith('kvm'))
const OTHERS = compiled(prefix => prefix === '')

/** Messages of tdx.c move between prefixes from one series to the next. */
export const FAMILIES = new Openings<Family>([
  { opening: OLDER, prefix: OLDER.length, messages: OF_TDX },
  { opening: UPSTREAM, prefix: UPSTREAM.length, messages: OF_TDX },
  // The same macros (seamcall_internal.h), used by seamldr.c since 7.2.
  { opening: SEAMLDR, prefix: SEAMLDR.length, messages: OF_TDX },
  { opening: 'kvm_intel: ', prefix: 11, messages: OF_KVM },
  ...[
    'SEAMCALL',
    'TDX ',
    'Unable to add memory',
    'VMXON',
    'process: using TDX',
    'Memory Encryption Features active: ',
    'Detected confidential virtualization ',
    'systemd[1]: Detected confidential virtualization ',
  ].map(opening => ({
    opening,
    prefix: 0,
    messages: OTHERS,
  })),
])

/** What the host's own TDX code says begins with one of these. */
export const TDX_PREFIX = /^(?:virt\/)?tdx: /

/** A message that was found, with its arguments as printed. */
export interface KnownMessage {
  readonly message: Message
  readonly values: readonly string[]
}

/** Looks a console text up; undefined when no kernel we know says this. */
export const lookUp = (text: string): KnownMessage | undefined => {
  const family = FAMILIES.of(text)
  if (!family) return undefined
  const rest = text.slice(family.prefix)
  for (const { message, pattern } of family.messages) {
    const match = pattern.exec(rest)
    if (match) return { message, values: match.slice(1) }
  }
  return undefined
}
