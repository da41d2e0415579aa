import {
  type MapOperation,
  type MapParse,
  type MapSyntaxError,
  parseMem,
  parseMemmap,
} from './memmap.ts'

/** One parameter of a kernel command line. */
export interface Parameter {
  /** As written; the kernel takes `-` and `_` for the same in a name. */
  readonly name: string
  /** Undefined when there is no `=`. */
  readonly value: string | undefined
}

/**
 * next_arg() (lib/cmdline.c): words are separated by white space outside
 * double quotes; quotes around a word or a value are dropped.
 */
export const splitWords = (cmdline: string): string[] =>
  cmdline.match(/(?:"[^"]*(?:"|$)|[^\s"])+/g) ?? []

const parameterOf = (word: string): Parameter => {
  const bare = word.replace(/^"(.*?)"?$/, '$1')
  const at = bare.indexOf('=')
  if (at < 0) return { name: bare, value: undefined }
  const value = bare.slice(at + 1).replace(/^"(.*?)"?$/, '$1')
  return { name: bare.slice(0, at), value }
}

/** The kernel's parameters; parse_args() (kernel/params.c) stops at `--`. */
export const parseCmdline = (cmdline: string): Parameter[] => {
  const words = splitWords(cmdline)
  const end = words.indexOf('--')
  return (end < 0 ? words : words.slice(0, end)).map(parameterOf)
}

const sameName = (a: string, b: string): boolean =>
  a.replaceAll('-', '_') === b.replaceAll('-', '_')

/** What a command line says about memory. */
export interface MemoryParameters {
  /** From `mem=` and `memmap=`, in the order they stand. */
  readonly operations: readonly MapOperation[]
  /** `numa=off` or `numa=noacpi`: one node for everything. */
  readonly numaOff: boolean
  /** Parameters whose effect on the layout the model does not know. */
  readonly unpredictable: readonly string[]
  readonly errors: readonly MapSyntaxError[]
}

const PARSERS: Readonly<Record<string, (value: string) => MapParse>> = {
  mem: parseMem,
  memmap: parseMemmap,
}

/** Names whose presence changes the layout in ways not modelled yet. */
const UNPREDICTABLE = ['efi_fake_mem', 'movable_node']

/** Reads what decides the memory layout from a whole command line. */
export const memoryParameters = (cmdline: string): MemoryParameters => {
  const operations: MapOperation[] = []
  const errors: MapSyntaxError[] = []
  const unpredictable: string[] = []
  let numaOff = false
  for (const { name, value = '' } of parseCmdline(cmdline)) {
    const parse = PARSERS[name]
    if (parse) {
      const parsed = parse(value)
      if ('error' in parsed) errors.push(parsed.error)
      else operations.push(...parsed.operations)
    } else if (name === 'numa') {
      // numa_setup() (arch/x86/mm/numa.c)
      if (value === 'off' || value === 'noacpi') numaOff = true
      else if (value.startsWith('fake=')) unpredictable.push(`numa=${value}`)
    } else if (UNPREDICTABLE.some(known => sameName(known, name))) {
      unpredictable.push(name)
    }
  }
  return { operations, numaOff, unpredictable, errors }
}
