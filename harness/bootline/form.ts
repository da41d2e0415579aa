/** A command line as a boot loader hands it to a kernel. */
export interface Handed {
  /** Where it stands, counted from 1. */
  readonly line: number
  /** The title of an entry, or the name of a variable; undefined: it has none. */
  readonly entry: string | undefined
  readonly cmdline: string
  /** What does not arrive as it is written, each a sentence. */
  readonly losses: readonly string[]
  /** Words that are variables as a whole, of which nothing is known here. */
  readonly unknown: readonly string[]
}

/** Parameters as they are written for a boot loader. */
export interface Written {
  /** What must be run first; empty: nothing. */
  readonly before: string
  readonly text: string
  /** What makes it take effect; empty: nothing more. */
  readonly after: string
}

export const FORM_NAMES = [
  'grub',
  'grub-default',
  'grubby',
  'bls',
  'systemd-boot',
  'kexec',
  'qemu',
  'libvirt',
  'ipxe',
  'syslinux',
] as const

export type FormName = (typeof FORM_NAMES)[number]

/** How a boot loader, or what is like one, takes a command line. */
export interface Form {
  readonly title: string
  /** Where what is written belongs. */
  readonly place: string
  /** Why a word cannot be handed on; undefined: it can. */
  readonly refuses: (word: string) => string | undefined
  /** @param words none of them refused */
  readonly write: (words: readonly string[]) => Written
  /** @throws UsageError for text that cannot be of this form */
  readonly read: (text: string) => Handed[]
  /** Text that looks like this form. */
  readonly isLike: (text: string) => boolean
}

/**
 * A word without the quotes that only keep its blanks together: next_arg()
 * (lib/cmdline.c) drops them around a word and around a value. Undefined: there
 * are others, which the kernel sees.
 */
export const bareWord = (word: string): string | undefined => {
  const bare = word
    .replace(/^"([^"]*)"$/, '$1')
    .replace(/^([^"=\s]*=)"([^"]*)"$/, '$1$2')
  return bare.includes('"') ? undefined : bare
}

/** The number of the line in which a character stands, counted from 1. */
export const lineAt = (text: string, at: number): number =>
  text.slice(0, at).split('\n').length

export const nothingMore = { before: '', after: '' }
