import { grubRefuses, grubWord, grubWords } from '../../bootline/grub.ts'
import type { HostEntry, LoaderName } from './inventory.ts'
import { type Answer, textOf } from './remote.ts'

/** The kernel a boot loader starts once. */
export interface Entry {
  /** File name in the folder of our kernels. */
  readonly kernel: string
  /** Undefined: the kernel needs none. */
  readonly initrd: string | undefined
  readonly words: readonly string[]
}

/**
 * What the kernel then prints as its command line: GRUB adds the image, and
 * systemd-boot the initrd as UEFI names it (seen with 252, and Linux 6.1).
 */
export const printedCmdline = (
  loader: LoaderName,
  { kernel, initrd, words }: Entry,
  { folder }: GrubPlace,
): string => {
  const added: Record<LoaderName, readonly string[]> = {
    grub: [`BOOT_IMAGE=${folder}/${kernel}`],
    'systemd-boot': initrd === undefined ? [] : [`initrd=\\tdxrig\\${initrd}`],
    kexec: [],
  }
  return [...added[loader], ...words].join(' ')
}

/** Where GRUB finds the folder of our kernels. */
export interface GrubPlace {
  /** UUID of the file system that holds it. */
  readonly uuid: string
  /** Its path there. */
  readonly folder: string
}

/**
 * Words that do not arrive as they are: one with a blank gets other quotes, and
 * the line that the kernel prints is compared.
 */
export const mangledBy = (
  loader: LoaderName,
  words: readonly string[],
): string[] =>
  loader === 'grub'
    ? words.filter(
        word => /[\s"]/.test(word) || grubRefuses(word) !== undefined,
      )
    : []

/** A menu entry of GRUB; each word is quoted by itself. */
const grubEntry = (entry: Entry, { uuid, folder }: GrubPlace): string =>
  [
    "menuentry 'tdxrig: one boot' --id tdxrig {",
    `  search --no-floppy --fs-uuid --set=root ${grubWord(uuid)}`,
    `  linux ${grubWords([`${folder}/${entry.kernel}`, ...entry.words])}`,
    ...(entry.initrd === undefined
      ? []
      : [`  initrd ${grubWord(`${folder}/${entry.initrd}`)}`]),
    '}',
    '',
  ].join('\n')

/** A file of the Boot Loader Specification: `$` and quotes mean nothing there. */
const specEntry = ({ kernel, initrd, words }: Entry): string =>
  [
    'title tdxrig: one boot',
    `linux /tdxrig/${kernel}`,
    ...(initrd === undefined ? [] : [`initrd /tdxrig/${initrd}`]),
    `options ${words.join(' ')}`,
    '',
  ].join('\n')

/** What is handed to a boot loader for one boot. */
export const entryText = (
  loader: LoaderName,
  entry: Entry,
  place: GrubPlace,
): string => {
  switch (loader) {
    case 'grub':
      return grubEntry(entry, place)
    case 'systemd-boot':
      return specEntry(entry)
    case 'kexec':
      return entry.words.join(' ')
  }
}

/** File systems in which GRUB can write its environment block. */
const WRITABLE_BY_GRUB = new Set(['ext2', 'ext3', 'ext4', 'vfat', 'xfs'])

/** Why a boot loader would not start an entry once, or for ever. */
export const loaderProblems = (
  { boot, append }: Pick<HostEntry, 'boot' | 'append'>,
  answer: Answer,
): string[] => {
  const has = (name: string): boolean => textOf(answer, name) !== ''
  const unless = (good: boolean, message: string): string[] =>
    good ? [] : [message]
  const mangled = mangledBy(boot, append)
  const common = unless(
    mangled.length === 0,
    `GRUB does not hand on ${mangled.join(', ')} as written`,
  )
  switch (boot) {
    case 'grub': {
      const fs = textOf(answer, 'grub-fs').split(' ')[0] ?? ''
      const abstraction = textOf(answer, 'grub-abstraction').trim()
      if (!has('grub-dir'))
        return [
          'expected GRUB with a grub.cfg in /boot/grub or /boot/grub2, found none',
        ]
      return [
        ...common,
        ...unless(
          has('grub-editenv'),
          "expected grub-editenv, found none: install GRUB's tools",
        ),
        ...unless(
          has('grub-next'),
          'expected a grub.cfg that looks at next_entry, found one that does not: one-shot entries would be ignored',
        ),
        ...unless(
          has('grub-custom'),
          'expected a grub.cfg that reads custom.cfg (/etc/grub.d/41_custom), found one that does not',
        ),
        ...unless(
          textOf(answer, 'grub-env-size') === '1024',
          `expected a grubenv of 1024 bytes, found ${textOf(answer, 'grub-env-size') || 'none'}`,
        ),
        ...unless(
          WRITABLE_BY_GRUB.has(fs) && abstraction === '',
          `GRUB cannot write its environment on ${[fs, abstraction].filter(Boolean).join(' on ')}: a one-shot entry would be started for ever`,
        ),
      ]
    }
    case 'systemd-boot':
      return unless(
        has('sd-boot-path') && has('efi'),
        'expected systemd-boot on a machine with UEFI, found none (bootctl is-installed)',
      )
    case 'kexec':
      return unless(has('kexec'), 'expected kexec (kexec-tools), found none')
  }
}
