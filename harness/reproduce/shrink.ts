import {
  GIB,
  MIB,
  PAGE_SIZE,
  alignDown,
  parseSize,
  sizeText,
} from '../base/units.ts'
import { splitWords } from '../memory/cmdline.ts'
import type { CellInput } from '../scenario/schema.ts'

/** Ways to make a scenario smaller, the boldest first. */
export const reductions = (input: CellInput): CellInput[] => [
  ...withoutParts(input),
  ...withoutPlatform(input),
  ...LISTS.flatMap(list => shorter(input, list)),
  ...withoutHoles(input),
  ...rounder(input),
]

type Machine = CellInput['machine']

/** The platform as it is when nothing is said, part by part. */
const withoutPlatform = (input: CellInput): CellInput[] => [
  ...Object.keys(input.tdx ?? {}).map(key => ({
    ...input,
    tdx: { ...input.tdx, [key]: undefined },
  })),
  ...(input.machine.cpuModel === undefined
    ? []
    : [withMachine(input, { ...input.machine, cpuModel: undefined })]),
]

/** One hole between two usable entries is filled. */
const withoutHoles = (input: CellInput): CellInput[] => {
  const { machine } = input
  const map = machine.firmware?.e820
  if (!Array.isArray(map)) return []
  const isUsable = ({ type }: (typeof map)[number]): boolean =>
    type === 'usable' || type === 1
  return map.flatMap((entry, at) => {
    const next = map.findIndex((other, i) => i > at && isUsable(other))
    if (!isUsable(entry) || next < 0) return []
    const joined = { ...entry, end: map[next]!.end }
    const e820 = map.toSpliced(at, next - at + 1, joined)
    return [withMachine(input, withFirmware(machine, { e820 }))]
  })
}

const withMachine = (input: CellInput, machine: Machine): CellInput => ({
  ...input,
  machine,
})

const withoutParts = (input: CellInput): CellInput[] => {
  const { machine, cmdline } = input
  const { firmware } = machine
  const smaller: CellInput[] = []
  const drop = (without: Machine): void => {
    smaller.push(withMachine(input, without))
  }
  if (firmware?.e820) drop(withFirmware(machine, { e820: undefined }))
  if (firmware?.srat) drop(withFirmware(machine, { srat: undefined }))
  if (machine.nodes)
    drop({ ...machine, nodes: undefined, memory: totalOf(machine.nodes) })
  if (machine.memory !== undefined && firmware?.e820)
    drop({ ...machine, memory: undefined })
  if (machine.packages !== undefined) drop({ ...machine, packages: undefined })
  if (machine.cpus !== undefined && machine.cpus > 1)
    drop({ ...machine, cpus: 1 })
  if (cmdline?.mem !== undefined)
    smaller.push({ ...input, cmdline: { ...cmdline, mem: undefined } })
  return smaller
}

const withFirmware = (
  machine: Machine,
  change: Partial<NonNullable<Machine['firmware']>>,
): Machine => ({ ...machine, firmware: { ...machine.firmware, ...change } })

const totalOf = (nodes: NonNullable<Machine['nodes']>): string =>
  sizeText(
    nodes.reduce((sum, { memory }) => sum + parseSize(String(memory))!, 0),
  )

/** A list in a scenario: how it is read, and how another takes its place. */
interface List {
  readonly get: (input: CellInput) => readonly unknown[] | undefined
  readonly set: (input: CellInput, list: unknown[]) => CellInput
}

const LISTS: readonly List[] = [
  {
    // Each element of a comma-separated list is one of its own.
    get: ({ cmdline }) =>
      cmdline?.memmap?.some(value => value.startsWith('exactmap'))
        ? cmdline.memmap
        : cmdline?.memmap?.flatMap(value => value.split(',')),
    set: (input, list) => ({
      ...input,
      cmdline: { ...input.cmdline, memmap: list as string[] },
    }),
  },
  {
    get: ({ cmdline }) => cmdline?.append?.flatMap(splitWords),
    set: (input, list) => ({
      ...input,
      cmdline: { ...input.cmdline, append: list as string[] },
    }),
  },
  {
    get: ({ machine }) => machine.nodes,
    set: (input, list) =>
      withMachine(input, {
        ...input.machine,
        nodes: list as NonNullable<Machine['nodes']>,
      }),
  },
  {
    get: ({ steps }) => steps,
    set: (input, list) => ({ ...input, steps: list as CellInput['steps'] }),
  },
  {
    get: ({ tdx }) => (Array.isArray(tdx?.cmrs) ? tdx.cmrs : undefined),
    set: (input, list) => ({
      ...input,
      tdx: { ...input.tdx, cmrs: list as { start: string; end: string }[] },
    }),
  },
  ...(['e820', 'srat'] as const).map((key): List => ({
    get: ({ machine }) => {
      const list = machine.firmware?.[key]
      return typeof list === 'string' ? undefined : list
    },
    set: (input, list) =>
      withMachine(
        input,
        withFirmware(input.machine, { [key]: list.length ? list : undefined }),
      ),
  })),
]

/** Without a half, a quarter, ... one element. */
const shorter = (input: CellInput, { get, set }: List): CellInput[] => {
  const list = get(input)
  if (!list || list.length === 0) return []
  const results: CellInput[] = []
  for (let size = list.length; size >= 1; size = Math.floor(size / 2))
    for (let at = 0; at < list.length; at += size)
      results.push(set(input, list.toSpliced(at, size)))
  return results
}

/** Every size and address on the next GiB, MiB or page, one at a time. */
const rounder = (input: CellInput): CellInput[] => {
  const text = JSON.stringify([
    input.machine,
    input.cmdline ?? {},
    input.tdx ?? {},
  ])
  const results: CellInput[] = []
  for (const match of text.matchAll(NUMBER)) {
    const value = parseSize(match[0])
    if (value === undefined) continue
    for (const unit of [GIB, MIB, PAGE_SIZE]) {
      const rounded = alignDown(value + unit / 2, unit)
      if (rounded === value || rounded === 0) continue
      const changed =
        text.slice(0, match.index) +
        sizeText(rounded) +
        text.slice(match.index + match[0].length)
      const [machine, cmdline, tdx] = JSON.parse(changed) as [
        Machine,
        NonNullable<CellInput['cmdline']>,
        NonNullable<CellInput['tdx']>,
      ]
      results.push({ ...input, machine, cmdline, tdx })
    }
  }
  return results
}

/** Numbers with a unit or in hexadecimal; plain ones are counts. */
const NUMBER = /\b(?:0x[0-9a-f]+|[0-9]+[KMG])\b/g

/** How a scenario is made smaller. */
export interface Shrinking {
  /** Whether a candidate can be tried at all. */
  readonly valid: (candidate: CellInput) => boolean
  /** Of a few candidates, the first that still fails; undefined for none. */
  readonly failing: (
    candidates: readonly CellInput[],
  ) => Promise<number | undefined>
  /** How many are tried at a time, and in all. */
  readonly width: number
  readonly budget: number
}

/** The smallest scenario that can be found with the same failure. */
export const shrink = async (
  input: CellInput,
  { valid, failing, width, budget }: Shrinking,
): Promise<CellInput> => {
  let best = input
  let left = budget
  const tried = new Set<string>()
  for (;;) {
    const candidates = unique(reductions(best)).filter(
      candidate => !tried.has(JSON.stringify(candidate)) && valid(candidate),
    )
    const before = best
    for (let at = 0; at < candidates.length && left > 0; at += width) {
      const few = candidates.slice(at, at + Math.min(width, left))
      left -= few.length
      for (const candidate of few) tried.add(JSON.stringify(candidate))
      const index = await failing(few)
      if (index === undefined) continue
      best = few[index]!
      break
    }
    if (best === before) return best
  }
}

const unique = (inputs: readonly CellInput[]): CellInput[] => [
  ...new Map(inputs.map(input => [JSON.stringify(input), input])).values(),
]
