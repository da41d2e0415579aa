import * as z from 'zod'
import { visible } from '../base/text.ts'
import { PAGE_SIZE, PHYSICAL_LIMIT, TIB } from '../base/units.ts'
import { parseRecord } from '../console/log-record.ts'
import {
  E820_TYPE_NAMES,
  type E820Entry,
  e820TypeByName,
  isUsable,
  sanitize,
  usable,
} from '../memory/e820.ts'
import type { BoardMachine, BoardModel } from '../board/board.ts'
import {
  type Range,
  formatRange,
  intersect,
  overlaps,
  subtract,
} from '../memory/range.ts'
import type { Srat, SratCpu, SratMemory } from '../memory/srat.ts'
import type { Problem } from './problem.ts'
import { cpuListSchema, sizeSchema } from './values.ts'

/** What the firmware says, where a scenario takes its place. */
export interface FirmwareSpec {
  /** In any order and shape; undefined: SeaBIOS's own. */
  readonly e820: readonly E820Entry[] | undefined
  /** Undefined: QEMU's own. */
  readonly srat: Srat | undefined
}

const TYPE_WORDS = `a type such as ${E820_TYPE_NAMES.map(name => `'${name}'`).join(', ')}, 'type 20' or a number`

/** More than any firmware has, and what fits below 64 KiB at 0x8000. */
const MAX_E820 = 1024
const MAX_SRAT = 512

const tooMany = (found: number): string =>
  `expected at most ${MAX_E820} entries, found ${found}; kernels keep far fewer`

const typeSchema = z
  .union([z.string(), z.number()], {
    error: `expected ${TYPE_WORDS}`,
  })
  .transform((value, context) => {
    const type = typeof value === 'number' ? value : e820TypeByName(value)
    if (isType(type)) return type
    context.addIssue({
      code: 'custom',
      message: `expected ${TYPE_WORDS}, found '${value}'`,
    })
    return z.NEVER
  })

const isType = (type: number | undefined): type is number =>
  type !== undefined && Number.isInteger(type) && type > 0 && type <= 0xffffffff

const entrySchema = z.strictObject({
  start: sizeSchema('an address'),
  end: sizeSchema('an address'),
  type: typeSchema,
})

/** A line of the map as kernels print it, without its time stamp. */
const LINE =
  /^(?:BIOS-e820: )?\[mem (0x[0-9a-f]{1,16})-(0x[0-9a-f]{1,16})\] +(\S.*)$/i
const HEADLINE = 'BIOS-provided physical RAM map:'

/** Lines of a kernel's log become entries; their ends are inclusive. */
const linesSchema = z.string().transform((text, context): E820Entry[] => {
  const complain = (message: string): void => {
    context.addIssue({ code: 'custom', message })
  }
  const entries = text.split(/\r\n?|\n/).flatMap((raw, i) => {
    const line = parseRecord(raw, i + 1).text
    if (line.trim() === '' || line === HEADLINE) return []
    const [, first, last, name = ''] = LINE.exec(line.trim()) ?? []
    const type = e820TypeByName(name)
    const range = { start: Number(first), end: Number(last) + 1 }
    if (
      type !== undefined &&
      range.start < range.end &&
      range.end <= PHYSICAL_LIMIT
    )
      return [{ ...range, type }]
    complain(
      `line ${i + 1} of the text: expected only the map, as in 'BIOS-e820: [mem 0x100000-0x7fffffff] usable', found '${visible(line.trim())}'`,
    )
    return []
  })
  if (entries.length > MAX_E820) complain(tooMany(entries.length))
  return entries
})

const DOMAIN = 'expected a proximity domain from 0 to 4294967295'
const domainSchema = z
  .int({ error: DOMAIN })
  .min(0, { error: DOMAIN })
  .max(0xffffffff, { error: DOMAIN })

const sratEntrySchema = z.union(
  [
    z.strictObject({
      domain: domainSchema,
      start: sizeSchema('an address'),
      end: sizeSchema('an address'),
      hotplug: z.boolean({ error: 'expected true or false' }).default(false),
    }),
    z.strictObject({
      domain: domainSchema,
      cpus: cpuListSchema,
    }),
  ],
  { error: 'expected { domain, start, end } or { domain, cpus }' },
)

export const firmwareSchema = z
  .strictObject({
    e820: z
      .union(
        [
          linesSchema,
          z.array(entrySchema).superRefine((list, context) => {
            if (list.length > MAX_E820)
              context.addIssue({
                code: 'custom',
                message: tooMany(list.length),
              })
          }),
        ],
        {
          error:
            "expected a list of { start, end, type }, or the kernel's lines as text",
        },
      )
      .optional()
      .describe("The memory map the kernel is given, in place of SeaBIOS's."),
    srat: z
      .array(sratEntrySchema, {
        error: 'expected a list of { domain, start, end } and { domain, cpus }',
      })
      .min(1, { error: 'expected at least one entry' })
      .max(MAX_SRAT, { error: `expected at most ${MAX_SRAT} entries` })
      .optional()
      .describe("The system resource affinity table, in place of QEMU's."),
  })
  .describe('What the firmware tells the kernel about memory.')

export type FirmwareInput = z.output<typeof firmwareSchema>

/** The table in a scenario, as the kernel reads it. */
export const firmwareSpec = (asked: FirmwareInput = {}): FirmwareSpec => ({
  e820: asked.e820,
  srat: asked.srat && {
    cpus: asked.srat.flatMap((entry): SratCpu[] =>
      'cpus' in entry
        ? entry.cpus.map(cpu => ({ cpu, domain: entry.domain }))
        : [],
    ),
    memory: asked.srat.flatMap((entry): SratMemory[] =>
      'cpus' in entry ? [] : [entry],
    ),
  },
})

/** Maps and tables that no machine can have. */
export const firmwareProblems = (
  asked: FirmwareInput,
  machine: BoardMachine & { readonly cpus: number },
  model: BoardModel,
): Problem[] => [
  ...(asked.e820 ? e820Problems(asked.e820, machine, model) : []),
  ...(asked.srat ? sratProblems(asked.srat, machine) : []),
]

const e820Problems = (
  e820: readonly E820Entry[],
  machine: BoardMachine,
  model: BoardModel,
): Problem[] => {
  const at: Problem['at'] = ['machine', 'firmware', 'e820']
  const empty = e820.findIndex(({ start, end }) => start >= end)
  if (empty >= 0)
    return [{ at: [...at, empty], message: 'expected start below end' }]
  if (e820.length === 0)
    return [{ at, message: 'expected an entry, found none' }]
  const ram = model.ramRanges(machine.memory)
  const tables = model.firmwareTables(machine)
  const hole = holeBelowHighRam(model)
  const map = sanitize(e820) ?? e820
  const [missing] = usable(map).flatMap(range => subtract(range, ram))
  const covered = usable(map).find(range => overlaps(range, tables))
  const entryAt = (part: { start: number; end: number }): Problem['at'] => [
    ...at,
    e820.findIndex(entry => isUsable(entry) && overlaps(entry, part)),
  ]
  if (missing)
    return [
      {
        at: entryAt(missing),
        message: `usable ${formatRange(missing)} has no RAM behind it: this machine has RAM at ${ram.map(formatRange).join(' and ')}${isIn(hole, missing) ? `; no machine of this board has any at ${formatRange(hole)} when there is some above` : ': give it more, or omit memory and nodes'}`,
      },
    ]
  return covered
    ? [
        {
          at: entryAt(intersect(covered, tables)!),
          message: `usable ${formatRange(covered)} covers the ACPI tables of this machine at ${formatRange(tables)}: the kernel would overwrite them; give the machine more memory, or leave memory and nodes away`,
        },
      ]
    : []
}

/** Between low and high RAM of a machine that has both. */
const holeBelowHighRam = (model: BoardModel): Range => {
  const [low, high] = model.ramRanges({ size: TIB, nodes: [], dimms: [] })
  return { start: low!.end, end: high!.start }
}

const isIn = ({ start, end }: Range, part: Range): boolean =>
  part.start >= start && part.start < end

const sratProblems = (
  srat: NonNullable<FirmwareInput['srat']>,
  { cpus }: { readonly cpus: number },
): Problem[] => {
  const known = new Set<number>()
  return srat.flatMap((entry, i): Problem[] => {
    const problem = (message: string): Problem[] => [
      { at: ['machine', 'firmware', 'srat', i], message },
    ]
    if (!('cpus' in entry)) return memoryProblem(entry).flatMap(problem)
    const unknown = entry.cpus.find(cpu => cpu >= cpus)
    if (unknown !== undefined)
      return problem(
        `CPU ${unknown} does not exist: the machine has CPUs 0 to ${cpus - 1}`,
      )
    const twice = entry.cpus.find(
      (cpu, at) => known.has(cpu) || entry.cpus.indexOf(cpu) !== at,
    )
    entry.cpus.forEach(cpu => known.add(cpu))
    return twice === undefined ? [] : problem(`CPU ${twice} is listed twice`)
  })
}

/** memblock would lose the page of such a border, and find it again. */
const memoryProblem = ({ start, end, hotplug }: SratMemory): string[] => {
  if (start >= end) return ['expected start below end']
  return hotplug && (start % PAGE_SIZE !== 0 || end % PAGE_SIZE !== 0)
    ? ['expected hot-pluggable memory to be whole pages of 4K']
    : []
}
