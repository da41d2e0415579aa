import { hex } from '../base/units.ts'
import { COMMAND_LINE_SIZE, kernelWords, splitWords } from './cmdline.ts'
import { parseMemmap } from './memmap.ts'

/** What boot loaders, shells and people make of a memory parameter. */
interface Fingerprint {
  /** Of a whole word of the command line. */
  readonly pattern: RegExp
  /** What happened to it. */
  readonly how: string
  /** What it was, as a replacement of the pattern; left out: not known. */
  readonly was?: string
}

const SIZE = String.raw`(memmap=(?:[^,]*,)*\d+[KMGT]?)`

const FINGERPRINTS: readonly Fingerprint[] = [
  {
    // A digit behind `$` names an argument, here the first one, which is empty
    // (GRUB manual, "Variable expansion").
    pattern: new RegExp(`^${SIZE}x([0-9a-f]+)$`, 'i'),
    how: "GRUB took the '$0' of '$0x' for a variable of its own",
    was: '$1$$0x$2',
  },
  {
    pattern: /^(memmap=\d+[KMGT])([KMGT])$/i,
    how: "GRUB took the '$' and the digits behind it for a variable of its own",
  },
  {
    pattern: new RegExp(`^${SIZE}(0x[0-9a-f]+|\\d+[KMGT])$`, 'i'),
    how: "the sign between size and address is missing: a '$' was probably eaten by GRUB or a shell",
    was: '$1$$$2',
  },
  {
    // $0 of a shell is its name.
    pattern: new RegExp(
      `^${SIZE}-?(?:/[^,]*/)?(?:ba|da|z|k|fi|c)?sh(x[0-9a-f]+)$`,
      'i',
    ),
    how: "a shell put its name in the place of '$0'",
    was: '$1$$0$2',
  },
  {
    pattern: /^(memmap=[^,\\]*)\\+([@#$!%][^\\]*)$/,
    how: 'a backslash that was to guard the sign behind it arrived at the kernel',
    was: '$1$2',
  },
  {
    pattern: /^(?:'|‘|’|“|”|`)+(mem(?:map)?=.*?)(?:'|‘|’|“|”|`)*$/,
    how: 'a quotation mark that the kernel does not know stands before the name, so it knows no such parameter',
    was: '$1',
  },
  {
    pattern: /^(memmap=.*),$/,
    how: 'a list was cut at a comma, or something behind it was eaten',
  },
  {
    pattern: /^memmap=\d+[KMGT]?$/i,
    how: "a size alone is a limit; if an address was meant, a '$' and what was behind it were eaten",
  },
]

/** What may have happened to a word on its way; undefined: nothing known. */
export interface Mangled {
  readonly word: string
  readonly how: string
  /** Null: it cannot be told. */
  readonly was: string | null
  /** The kernel cuts off all memory from this address on; null: it does not. */
  readonly cutsFrom: number | null
}

const mangledWord = (word: string): Mangled[] => {
  const found = FINGERPRINTS.find(({ pattern }) => pattern.test(word))
  if (!found) return []
  const value = /^memmap=(.*)$/s.exec(word)?.[1]
  const limit =
    value === undefined
      ? undefined
      : parseMemmap(value).operations.find(({ kind }) => kind === 'limit')
  return [
    {
      word,
      how: found.how,
      was:
        found.was === undefined ? null : word.replace(found.pattern, found.was),
      cutsFrom: limit?.kind === 'limit' ? limit.size : null,
    },
  ]
}

/** Words of a command line that look as if something happened to them. */
export const mangledWords = (cmdline: string): Mangled[] =>
  kernelWords(cmdline).flatMap(mangledWord)

/** It is as long as the kernel takes: what was behind was cut off. */
export const isCut = (cmdline: string): boolean =>
  Buffer.byteLength(cmdline) >= COMMAND_LINE_SIZE - 1

/** Parameters of the kernel that stand behind `--`, where they are init's. */
export const behindDashes = (cmdline: string): string[] =>
  splitWords(cmdline)
    .slice(kernelWords(cmdline).length + 1)
    .filter(word =>
      /^(?:mem(?:map)?|numa|kvm[-_]intel\.\w+|nohibernate|movable_node|efi)(?:=|$)/.test(
        word,
      ),
    )

/** What happened to it, and how it is written so that it arrives. */
export const mangledText = (mangled: Mangled): string =>
  [
    whatHappened(mangled),
    ...(mangled.word.includes('$') || mangled.was?.includes('$') === true
      ? [
          "; write \\$ in GRUB's menu and in grub.cfg, \\\\\\$ in /etc/default/grub; 'tdxrig bootline' writes it for every boot loader",
        ]
      : []),
  ].join('')

export const whatHappened = ({ word, how, was, cutsFrom }: Mangled): string =>
  [
    `'${word.slice(0, 200)}'`,
    ...(cutsFrom === null
      ? []
      : [` cuts off all memory from ${hex(cutsFrom)} on`]),
    `: ${how}`,
    ...(was === null ? [] : [`; it was '${was.slice(0, 200)}'`]),
  ].join('')
