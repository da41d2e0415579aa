import type { Argument, Command, Help, Option } from 'commander'

/**
 * What a value on the command line can be, for completion.
 *
 * - `words`: one of these
 * - `files`, `folders`: names in the file system
 * - `kernels`: recipes; with `files` also a path, with `all` also that word
 * - `text`: something that cannot be listed
 */
export type Values =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'files' | 'folders' | 'text' }
  | { readonly kind: 'kernels'; readonly files: boolean; readonly all: boolean }

export interface ArgumentNode {
  /** As in usage: `<file>`, `[paths...]`. */
  readonly term: string
  /** Empty where its name says it all. */
  readonly description: string
  readonly isVariadic: boolean
  readonly values: Values
}

export interface OptionNode {
  /** `-h`; undefined: there is none. */
  readonly short: string | undefined
  readonly long: string
  /** `<name>`; undefined: it takes no value. */
  readonly value: string | undefined
  /** It can be given without its value. */
  readonly isOptional: boolean
  /** With choices and default, as in --help. */
  readonly description: string
  readonly isRepeatable: boolean
  readonly values: Values
}

/** A command as its --help describes it. */
export interface CommandNode {
  /** Below the program: `['history', 'list']`; none for the program itself. */
  readonly words: readonly string[]
  readonly description: string
  readonly arguments: readonly ArgumentNode[]
  readonly options: readonly OptionNode[]
  readonly commands: readonly CommandNode[]
}

/** Reads the tree of commands below a program. */
export const commandTree = (root: Command): CommandNode =>
  nodeOf(root, root.createHelp(), [])

const nodeOf = (
  command: Command,
  help: Help,
  words: readonly string[],
): CommandNode => ({
  words,
  description: command.description(),
  arguments: command.registeredArguments.map(argument =>
    argumentOf(argument, help, words.join(' ')),
  ),
  options: help.visibleOptions(command).map(option => optionOf(option, help)),
  commands: command.commands.map(child =>
    nodeOf(child, help, [...words, child.name()]),
  ),
})

const argumentOf = (
  argument: Argument,
  help: Help,
  command: string,
): ArgumentNode => {
  const dots = argument.variadic ? '...' : ''
  return {
    term: argument.required
      ? `<${argument.name()}${dots}>`
      : `[${argument.name()}${dots}]`,
    description: help.argumentDescription(argument),
    isVariadic: argument.variadic,
    values:
      wordsOf(argument.argChoices) ??
      KERNEL_ARGUMENTS[`${command} ${argument.name()}`] ??
      placeholderValues(argument.name()),
  }
}

const optionOf = (option: Option, help: Help): OptionNode => {
  const { short, long = option.flags, flags, argChoices } = option
  const value = /[<[].*$/.exec(flags)?.[0]
  const isRepeatable =
    option.variadic || /\(.*repeatable\)/.test(option.description)
  return {
    short,
    long,
    value,
    description: help.optionDescription(option),
    isOptional: option.optional,
    isRepeatable,
    values:
      wordsOf(argChoices) ??
      (long === '--kernel'
        ? { kind: 'kernels', files: false, all: isRepeatable }
        : undefined) ??
      placeholderValues(value?.replaceAll(/[<>[\].]/g, '') ?? ''),
  }
}

const wordsOf = (words: readonly string[] | undefined): Values | undefined =>
  words && { kind: 'words', words }

const KERNEL_ARGUMENTS: Readonly<Partial<Record<string, Values>>> = {
  'kernel build names': { kind: 'kernels', files: false, all: false },
  'kernel fetch names': { kind: 'kernels', files: false, all: false },
  'kernel check targets': { kind: 'kernels', files: true, all: false },
}

/** What placeholders stand for, wherever they are used. */
const PLACEHOLDERS: Readonly<Partial<Record<string, 'files' | 'folders'>>> = {
  file: 'files',
  files: 'files',
  path: 'files',
  paths: 'files',
  scenario: 'files',
  // A result.json, or the folder of a run.
  result: 'files',
  results: 'files',
  old: 'files',
  new: 'files',
  folder: 'folders',
  dir: 'folders',
  // Of a history: a folder, or an address that cannot be listed.
  place: 'folders',
}

const placeholderValues = (name: string): Values => ({
  kind: PLACEHOLDERS[name] ?? 'text',
})

/** The command and all below it, as they are listed. */
export const flattened = (node: CommandNode): CommandNode[] => [
  node,
  ...node.commands.flatMap(flattened),
]
