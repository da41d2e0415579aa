import { type Form, type Handed, bareWord, nothingMore } from './form.ts'
import { type Command, GRUB, type Word, commandsOf } from './script.ts'

/**
 * What an argument of `linux` becomes: grub_create_loader_cmdline()
 * (grub-core/lib/cmdline.c) puts quotes around one with a blank, and a
 * backslash before every quote and backslash, but not before `\x` with two hex
 * digits. Seen with 2.06, 2.12 and 2.14.
 */
const handedWord = (argument: string): string => {
  const guarded = argument.replaceAll(/\\x[0-9a-f]{2}|[\\'"]/gi, found =>
    found.length > 1 ? found : `\\${found}`,
  )
  return argument.includes(' ') ? `"${guarded}"` : guarded
}

/** Why GRUB cannot hand a word on; undefined: it can. */
export const grubRefuses = (word: string): string | undefined => {
  const bare = bareWord(word)
  if (bare === undefined || /['\\]/.test(bare))
    return 'GRUB puts a backslash before each quote and backslash'
  return /[\t\n]/.test(bare)
    ? 'GRUB puts quotes around blanks, and not around tabs'
    : undefined
}

/**
 * A word of a script of GRUB (grub-core/script/yylex.l).
 *
 * @param word not refused by grubRefuses()
 */
export const grubWord = (word: string): string => {
  const bare = bareWord(word) ?? word
  if (bare === '' || bare.includes(' '))
    return `"${bare.replaceAll(/[\\"$]/g, String.raw`\$&`)}"`
  return bare.replaceAll(/[{}|&$;<>'"\\]|^#/g, String.raw`\$&`)
}

export const grubWords = (words: readonly string[]): string =>
  words.map(grubWord).join(' ')

/** The command line that the arguments behind the image give. */
const grubHands = (
  words: readonly Word[],
): Pick<Handed, 'cmdline' | 'losses' | 'unknown'> => ({
  cmdline: words
    .filter(({ text }) => text !== '')
    .map(({ text }) => handedWord(text))
    .join(' '),
  losses: words.flatMap(lossesOf),
  unknown: words.filter(isVariable).flatMap(({ unset }) => unset),
})

/** The arguments of a `linux` command that stands in no script. */
export const grubLine = (
  line: string,
): Pick<Handed, 'cmdline' | 'losses' | 'unknown'> => {
  const [command] = commandsOf(`linux ${line}`, GRUB, () => undefined)
  const { losses, ...handed } = grubHands(command?.words.slice(1) ?? [])
  return { ...handed, losses: [...losses, ...cutsOf(command)] }
}

/** What GRUB does not read as arguments. */
const cutsOf = (command: Command | undefined): string[] => {
  if (command === undefined) return []
  const { end, comment, isOpen } = command
  return [
    ...(isOpen
      ? ['a quote is not closed: GRUB finds a syntax error and boots nothing']
      : []),
    ...(comment === ''
      ? []
      : [`GRUB takes '${comment}' for a comment: it does not arrive`]),
    ...(/[|&<>]/.test(end)
      ? [`GRUB finds a syntax error at '${end}' and boots nothing`]
      : []),
    ...(/[;{}\n]/.test(end)
      ? [
          `GRUB ends the command at '${end === '\n' ? 'the line feed' : end}': what is behind does not arrive`,
        ]
      : []),
  ]
}

/** Whoever writes a word so means the variable. */
const isVariable = ({ text, unset }: Word): boolean =>
  text === '' &&
  unset.length > 0 &&
  unset.every(name => /^[A-Za-z_]/.test(name))

const lossesOf = (word: Word): string[] => [
  ...(isVariable(word) ? [] : word.unset).map(
    name =>
      `GRUB takes $${name} for a variable that is not set here: '${word.text}' is what is left`,
  ),
  ...(/['"\\]/.test(word.text)
    ? [
        `GRUB puts a backslash before each quote and backslash of '${word.text}'`,
      ]
    : []),
]

/** A `set` of a variable, with or without the word. */
const settingOf = ({ words }: Command): [string, string] | undefined => {
  const [first, second] = words
  const word = first?.text === 'set' ? second : first
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(word?.text ?? '') ?? []
  return name === undefined || value === undefined ? undefined : [name, value]
}

const LOADS_LINUX = /^linux(?:16|efi)?$/
const BEGINS_ENTRY = /^(?:menuentry|submenu)$/

/** Reads each `linux` command of a script. */
const readGrub = (script: string): Handed[] => {
  const variables = new Map<string, string>()
  const titles: (string | undefined)[] = []
  let title: string | undefined
  const found: Handed[] = []
  for (const command of commandsOf(script, GRUB, name => variables.get(name))) {
    const { line, words, end } = command
    const [first, second] = words.map(({ text }) => text)
    if (BEGINS_ENTRY.test(first ?? '')) title = second
    if (LOADS_LINUX.test(first ?? ''))
      found.push({
        line,
        entry: titles.findLast(one => one !== undefined),
        ...grubHands(words.slice(2)),
      })
    const setting = settingOf(command)
    if (setting) variables.set(...setting)
    if (end === '{') {
      titles.push(title)
      title = undefined
    } else if (end === '}') titles.pop()
  }
  return found
}

export const grubForm: Form = {
  title: 'GRUB 2, an entry of its menu',
  place:
    "behind the kernel in a 'linux' line of /boot/grub/custom.cfg or /etc/grub.d/40_custom, or after 'e' in its menu",
  refuses: grubRefuses,
  write: words => ({
    ...nothingMore,
    text: grubWords(words),
  }),
  read: readGrub,
  isLike: text => /^\s*(?:linux(?:16|efi)?\s|menuentry\s)/m.test(text),
}
