import { UsageError } from '../base/errors.ts'
import { shellQuote } from '../base/shell.ts'
import { type Form, type Handed, type Written, nothingMore } from './form.ts'
import { grubLine, grubRefuses, grubWords } from './grub.ts'
import type { Lookup } from './script.ts'

/**
 * Entries of the Boot Loader Specification, type 1
 * (https://uapi-group.org/specifications/specs/boot_loader_specification/).
 * systemd-boot takes their text as it is. GRUB makes a script of it.
 */

interface Line {
  readonly line: number
  readonly key: string
  readonly value: string
}

const linesOf = (text: string): Line[] =>
  text.split('\n').flatMap((one, i) => {
    const [, key, value] = /^\s*([A-Za-z_-]+)[ \t]+(.*?)\s*$/.exec(one) ?? []
    return key === undefined || value === undefined
      ? []
      : [{ line: i + 1, key, value }]
  })

const titleOf = (lines: readonly Line[]): string | undefined =>
  lines.find(({ key }) => key === 'title')?.value

export const isEntry = (text: string): boolean => {
  const keys = new Set(linesOf(text).map(({ key }) => key))
  return keys.has('options') && (keys.has('linux') || keys.has('title'))
}

/** What GRUB's blscfg makes of a value, before it is run as a script. */
export interface Expanded {
  /** Null: it gives up, and the kernel gets no parameters. */
  readonly text: string | null
  readonly losses: readonly string[]
  readonly unknown: readonly string[]
}

/**
 * blsuki_expand_val() and blsuki_field_append() (grub-core/commands/blsuki.c of
 * 2.14; expand_val() of Fedora's blscfg.c): `$` begins a name, and a backslash
 * guards it in Fedora's and RHEL's GRUB since May 2025 alone. The blank behind a name goes; one comes behind its value, if it
 * has one. A piece of a single character before or behind a name is lost.
 */
export const expandBls = (value: string, lookup: Lookup): Expanded => {
  const pieces: string[] = []
  const losses: string[] = []
  const unknown: string[] = []
  const append = (start: number, end: number, isName: boolean): void => {
    const piece = value.slice(start, end)
    const known = isName ? lookup(piece) : piece
    if (known !== undefined) pieces.push(known, isName ? ' ' : '')
    else if (isWholeWord(value, start, end)) unknown.push(piece)
    else
      losses.push(
        `GRUB takes $${piece} for a variable that is not set here: it is gone; a backslash before it helps in GRUB of Fedora and RHEL since May 2025, and in no other`,
      )
  }
  let start = 0
  let isName = false
  for (let at = 0; at < value.length; at += 1) {
    const character = value.charAt(at)
    if (character === '$') {
      if (start === Math.max(at - 1, 0)) lost(value.slice(start, at), losses)
      else {
        append(start, at, isName)
        if (pieces.length === 0) return { text: null, losses, unknown }
      }
      isName = true
      start = at + 1
    } else if (isName && !/\w/.test(character)) {
      append(start, at, true)
      isName = false
      start = character === ' ' ? at + 1 : at
    }
  }
  if (start < value.length - 1) append(start, value.length, isName)
  else lost(value.slice(start), losses)
  const text = pieces.length === 0 ? null : pieces.join('')
  return { text, losses, unknown }
}

/** Whoever writes a word so means the variable. */
const isWholeWord = (value: string, start: number, end: number): boolean =>
  /^[A-Za-z_]/.test(value.slice(start, end)) &&
  /^\s?$/.test(value.slice(Math.max(start - 2, 0), start - 1)) &&
  /^\s?$/.test(value.slice(end, end + 1))

const lost = (piece: string, losses: string[]): void => {
  if (piece.trim() !== '')
    losses.push(
      `GRUB loses '${piece}': a single character before or behind a variable`,
    )
}

/** What a kernel gets of the options of an entry that GRUB reads. */
const grubOptions = (
  value: string,
): Pick<Handed, 'cmdline' | 'losses' | 'unknown'> => {
  const { text, losses, unknown } = expandBls(value, () => undefined)
  const handed = grubLine(text ?? '')
  return {
    cmdline: handed.cmdline,
    unknown: [...unknown, ...handed.unknown],
    losses: [...losses, ...handed.losses],
  }
}

const readBls = (text: string): Handed[] => {
  const lines = linesOf(text)
  const [first, ...more] = lines.filter(({ key }) => key === 'options')
  if (!first) return []
  const { losses, ...handed } = grubOptions(first.value)
  return [
    {
      line: first.line,
      entry: titleOf(lines),
      ...handed,
      losses: [
        ...losses,
        ...more.map(
          ({ line }) =>
            `GRUB reads the first 'options' alone: line ${line} does not arrive`,
        ),
      ],
    },
  ]
}

/** The variable of GRUB that holds words which an entry cannot. */
const VARIABLE = 'tdxrig'

/** Of the 1,024 bytes of GRUB's environment, with what else may be in it. */
const ROOM = 900

/** @throws UsageError for more than the environment of GRUB holds */
const setVariable = (words: readonly string[]): string => {
  const value = grubWords(words)
  const length = Buffer.byteLength(value)
  if (length > ROOM)
    throw new UsageError(
      'BOOTLINE',
      `expected at most ${ROOM} bytes, which GRUB's environment holds, found ${length}: write them into grub.cfg (grub, grub-default), or leave some out`,
    )
  return `grub2-editenv - set ${VARIABLE}=${shellQuote(value)}`
}

/**
 * `$` cannot stand in an entry; it can in a variable, whose value GRUB puts
 * there before it takes the line apart.
 */
const writeBls = (words: readonly string[]): Written =>
  words.some(word => word.includes('$'))
    ? { before: setVariable(words), text: `$${VARIABLE}`, after: '' }
    : { ...nothingMore, text: grubWords(words) }

/**
 * What grubby can be given. It hands its arguments to sed, which takes
 * backslashes away and brackets for its own; a value with one that is not closed
 * empties the options of all entries, root= with them. It also writes them into
 * /etc/default/grub between quotes of its own. Seen with grubby 8.40 of RHEL 8,
 * RHEL 9 and Fedora 38.
 */
const GRUBBY_TAKES = /^[A-Za-z_][\w.-]*(?:=[\w.,:!#@%/=~^-]*)?$/

/** A second call takes the variable away first: else it stands there twice. */
const writeGrubby = (words: readonly string[]): Written =>
  words.every(word => GRUBBY_TAKES.test(word))
    ? {
        ...nothingMore,
        text: `grubby --update-kernel=ALL --args=${shellQuote(grubWords(words))}`,
      }
    : {
        ...nothingMore,
        text: `${setVariable(words)} &&\n  grubby --update-kernel=ALL --remove-args='\\$${VARIABLE}' --args='$${VARIABLE}'`,
      }

export const blsForm: Form = {
  title: 'GRUB 2 with entries in files (Fedora, RHEL, GRUB 2.14)',
  place:
    "at the end of the first 'options' line of a file in /boot/loader/entries; grub.cfg must have load_env before blscfg",
  refuses: grubRefuses,
  write: writeBls,
  read: readBls,
  isLike: isEntry,
}

/** `grubby --info=ALL`: the options of each entry, in quotes. */
const readInfo = (text: string): Handed[] => {
  let kernel: string | undefined
  return text.split('\n').flatMap((one, i) => {
    kernel = /^kernel="?(.*?)"?$/.exec(one)?.[1] ?? kernel
    const [, args] = /^args="(.*)"\s*$/.exec(one) ?? []
    return args === undefined
      ? []
      : [{ line: i + 1, entry: kernel, ...grubOptions(args) }]
  })
}

export const grubbyForm: Form = {
  title: "Fedora's and RHEL's grubby",
  place:
    "a shell; what is checked is the output of 'grubby --info=ALL'; where entries have $kernelopts (RHEL 8) use bls",
  refuses: grubRefuses,
  write: writeGrubby,
  read: readInfo,
  isLike: text => /^args="/m.test(text) && /^kernel="/m.test(text),
}

/** systemd-boot joins all options lines; a file of words alone is one as well. */
const readSystemdBoot = (text: string): Handed[] => {
  const lines = linesOf(text)
  const options = isEntry(text)
    ? lines.filter(({ key }) => key === 'options')
    : text
        .split('\n')
        .map((value, i) => ({ line: i + 1, key: '', value: value.trim() }))
        .filter(({ value }) => value !== '')
  const [first] = options
  return first
    ? [
        {
          line: first.line,
          entry: titleOf(lines),
          cmdline: options.map(({ value }) => value).join(' '),
          losses: [],
          unknown: [],
        },
      ]
    : []
}

export const systemdBootForm: Form = {
  title: 'systemd-boot, and unified kernel images',
  place:
    "an 'options' line of a file in loader/entries; /etc/kernel/cmdline without the key",
  refuses: () => undefined,
  write: words => ({ ...nothingMore, text: `options ${words.join(' ')}` }),
  read: readSystemdBoot,
  isLike: isEntry,
}
