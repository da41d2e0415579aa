import { sizeText } from '../base/units.ts'
import { kernelWords, parseCmdline, splitWords } from '../memory/cmdline.ts'
import { type MapOperation, parseMem, parseMemmap } from '../memory/memmap.ts'
import type { CellInput } from '../scenario/schema.ts'
import type { Scale } from './scale.ts'

/** Parameters with a word in which memory TDX gets, or whether it works. */
const KEPT: ReadonlySet<string> = new Set([
  'numa',
  'numa_memblks',
  'acpi',
  'movable_node',
  'movablecore',
  'kernelcore',
  'crashkernel',
  'cma',
  'numa_cma',
  'hugetlb_cma',
  'hugepages',
  'hugepagesz',
  'default_hugepagesz',
  'reserve_mem',
  'disable_mtrr_cleanup',
  'enable_mtrr_cleanup',
  'mtrr_chunk_size',
  'mtrr_gran_size',
  'mtrr_spare_reg_nr',
  'efi_fake_mem',
  'add_efi_memmap',
  'efi',
  'memhp_default_state',
  'swiotlb',
  'maxcpus',
  'nr_cpus',
  'possible_cpus',
  'nosmp',
  'nosmt',
  'nohibernate',
  'hibernate',
  'nox2apic',
  'x2apic_phys',
  'intremap',
  'kvm_intel.tdx',
  'kvm.enable_virt_at_load',
  'tsx',
  'noefi',
])

/** Memory that is set aside by size: too much of it for a smaller machine. */
const BY_SIZE: ReadonlySet<string> = new Set([
  'hugepages',
  'crashkernel',
  'cma',
  'numa_cma',
  'hugetlb_cma',
  'movablecore',
  'kernelcore',
  'reserve_mem',
  'swiotlb',
])

/** `kernelcore=mirror` and `numa=fake=8` have no size. */
const isBySize = (word: string): boolean => {
  const [{ name, value = '' } = { name: '' }] = parseCmdline(word)
  return BY_SIZE.has(name.replaceAll('-', '_'))
    ? /^\d/.test(value)
    : name === 'numa' && /^fake=\d+[KMGT]/i.test(value)
}

/** Nothing that a shell, a path or a name of a host could hide in. */
const HARMLESS = /^[\w.,:@$!#%+=*-]{1,200}$/

export interface ReplayedCmdline {
  readonly cmdline: NonNullable<CellInput['cmdline']>
  readonly approximations: readonly string[]
}

const nameOf = (word: string): string =>
  (parseCmdline(word)[0]?.name ?? '').replaceAll('-', '_')

const isMap = (word: string): boolean => /^mem(?:map)?=/.test(word)

/** Of a map in which mem= and memmap= are done already. */
export const withoutMaps = (cmdline: string): string =>
  splitWords(cmdline)
    .filter(word => !isMap(word))
    .join(' ')

/** Of a log's command line, what matters to memory; the rest is left out. */
export const replayCmdline = (
  cmdline: string,
  scale: Scale,
): ReplayedCmdline => {
  const words = kernelWords(cmdline)
  const kept: string[] = []
  const maps: string[] = []
  const approximations: string[] = []
  // What is behind `--` is for init, and is not looked at.
  let others = splitWords(cmdline).length - words.length
  for (const word of words) {
    if (isMap(word)) {
      const value = placed(word, scale)
      if (value !== undefined) maps.push(`${nameOf(word)}=${value}`)
      else approximations.push(unreadable(word))
    } else if (!KEPT.has(nameOf(word)) || !HARMLESS.test(word)) others++
    else if (scale.removed > 0 && isBySize(word))
      approximations.push(`'${word}' was left out: the machine is smaller here`)
    else kept.push(word)
  }
  if (others > 0)
    approximations.push(
      `${others} words of the command line that do not decide about memory were left out`,
    )
  return { cmdline: cmdlineOf(maps, kept), approximations }
}

const unreadable = (word: string): string =>
  `'${word.slice(0, 80)}' was left out: no kernel accepts it in this form`

/** A scenario puts mem= first; another order must be kept word by word. */
const cmdlineOf = (
  maps: readonly string[],
  kept: readonly string[],
): ReplayedCmdline['cmdline'] => {
  const valuesOf = (name: string): string[] =>
    maps
      .filter(word => word.startsWith(`${name}=`))
      .map(word => word.slice(name.length + 1))
  const [mem, ...more] = valuesOf('mem')
  if (mem !== undefined && (more.length > 0 || !maps[0]!.startsWith('mem=')))
    return { append: [...maps, ...kept] }
  const memmap = valuesOf('memmap')
  return {
    ...(mem !== undefined && { mem }),
    ...(memmap.length > 0 && { memmap }),
    append: [...kept],
  }
}

/** What a `mem=` or `memmap=` does; undefined where no kernel takes it. */
const operationsOf = (word: string): readonly MapOperation[] | undefined => {
  const value = valueOf(word)
  const parsed = word.startsWith('mem=') ? parseMem(value) : parseMemmap(value)
  return parsed.error ? undefined : parsed.operations
}

const valueOf = (word: string): string => word.slice(word.indexOf('=') + 1)

/** The value of a `mem=` or `memmap=` on the scaled machine. */
const placed = (word: string, scale: Scale): string | undefined => {
  const operations = operationsOf(word)
  if (!operations || !HARMLESS.test(word)) return undefined
  const value = valueOf(word)
  return scale.removed === 0
    ? value
    : value
        .split(',')
        .map((element, i) => placedElement(element, operations[i], scale))
        .join(',')
}

/** `nn$ss` keeps all but its size and its address. */
const placedElement = (
  element: string,
  operation: MapOperation | undefined,
  { place }: Scale,
): string => {
  if (!operation || operation.kind === 'exact') return element
  if (operation.kind === 'limit') return sizeText(place(operation.size))
  const { start, end } = operation.range
  const sign = /[@#$!%]/.exec(element)
  const types = /[-+](?:0x)?\w+(?:\+(?:0x)?\w+)?$/.exec(element)?.[0] ?? ''
  return `${sizeText(place(end) - place(start))}${sign?.[0] ?? '$'}${sizeText(place(start))}${types}`
}

/** Addresses a command line speaks of. */
export const bordersOf = (cmdline: string): number[] =>
  kernelWords(cmdline)
    .filter(isMap)
    .flatMap(word => operationsOf(word) ?? [])
    .flatMap(bordersIn)

const bordersIn = (operation: MapOperation): number[] => {
  if (operation.kind === 'exact') return []
  return operation.kind === 'limit'
    ? [operation.size]
    : [operation.range.start, operation.range.end]
}
