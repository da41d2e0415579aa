import {
  type MapOperation,
  type MapParse,
  type MapSyntaxError,
  parseMem,
  parseMemmap,
} from './memmap.ts'

/** Bytes with the end, on x86 (arch/x86/include/asm/setup.h). */
export const COMMAND_LINE_SIZE = 2048

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
  const bare = unquoted(word)
  const at = bare.indexOf('=')
  if (at < 0) return { name: bare, value: undefined }
  return { name: bare.slice(0, at), value: unquoted(bare.slice(at + 1)) }
}

const unquoted = (text: string): string =>
  text.startsWith('"') ? text.replace(/^"(.*?)"?$/, '$1') : text

/** Words that are the kernel's: parse_args() (kernel/params.c) stops at `--`. */
export const kernelWords = (cmdline: string): string[] => {
  const words = splitWords(cmdline)
  const end = words.indexOf('--')
  return end < 0 ? words : words.slice(0, end)
}

/** The kernel's parameters. */
export const parseCmdline = (cmdline: string): Parameter[] =>
  kernelWords(cmdline).map(parameterOf)

/** What a command line says about memory. */
export interface MemoryParameters {
  /** From `mem=` and `memmap=`, in the order they stand. */
  readonly operations: readonly MapOperation[]
  /** `numa=off` or `numa=noacpi`: nobody looks at the SRAT. */
  readonly sratIgnored: 'off' | 'noacpi' | undefined
  /** The value of the last `numa=fake=`. */
  readonly fake: string | undefined
  /** What becomes of the memory PAMTs are allocated from. */
  readonly pamtSource: PamtSource
  /** Parameters whose effect on the layout the model does not know. */
  readonly unpredictable: readonly string[]
  readonly errors: readonly MapSyntaxError[]
}

const PARSERS: ReadonlyMap<string, (value: string) => MapParse> = new Map([
  ['mem', parseMem],
  ['memmap', parseMemmap],
])

/**
 * `acpi=off`: no SRAT, and none of the rest of what ACPI tells.
 *
 * `efi_fake_mem=` is not among them: efi_fake_memmap()
 * (drivers/firmware/efi/fake_mem.c, until 6.7) does nothing on a machine that
 * was not started by EFI, as those of the rig are.
 */
const UNPREDICTABLE: ReadonlySet<string> = new Set(['acpi'])

/**
 * Where alloc_contig_pages() finds memory for PAMTs: in the zone that is known,
 * in some other place (`moved`), or perhaps nowhere (`scarce`): memory in
 * ZONE_MOVABLE and huge pages are not for GFP_KERNEL.
 */
export type PamtSource = 'usual' | 'moved' | 'scarce'

const PAMT_SOURCES: ReadonlyMap<string, PamtSource> = new Map([
  ['crashkernel', 'moved'],
  ...[
    'cma',
    'hugepages',
    'hugetlb_cma',
    'kernelcore',
    'movablecore',
    'movable_node',
    'numa_cma',
    'reserve_mem',
  ].map((name): [string, PamtSource] => [name, 'scarce']),
])

/** numa_setup() (arch/x86/mm/numa.c) compares beginnings. */
const NUMA_OFF = /^off/
const NUMA_FAKE = /^fake=(.*)$/s
const NUMA_NOACPI = /^noacpi/

/** Reads what decides the memory layout from a whole command line. */
export const memoryParameters = (cmdline: string): MemoryParameters => {
  const operations: MapOperation[] = []
  const errors: MapSyntaxError[] = []
  const unpredictable: string[] = []
  let sratIgnored: MemoryParameters['sratIgnored']
  let fake: string | undefined
  let pamtSource: PamtSource = 'usual'
  for (const { name: written, value = '' } of parseCmdline(cmdline)) {
    const name = written.replaceAll('-', '_')
    const parsed = PARSERS.get(name)?.(value)
    if (parsed) operations.push(...parsed.operations)
    if (parsed?.error) errors.push(parsed.error)
    if (name === 'numa') {
      fake = NUMA_FAKE.exec(value)?.[1] ?? fake
      if (NUMA_OFF.test(value)) sratIgnored = 'off'
      else if (NUMA_NOACPI.test(value)) sratIgnored ??= 'noacpi'
    }
    if (UNPREDICTABLE.has(name)) unpredictable.push(written)
    if (pamtSource !== 'scarce')
      pamtSource = PAMT_SOURCES.get(name) ?? pamtSource
  }
  return {
    operations,
    sratIgnored,
    fake,
    pamtSource,
    unpredictable,
    errors,
  }
}
