import {
  memoryParameters,
  parseCmdline,
  splitWords,
} from '../memory/cmdline.ts'
import { ramRanges } from '../memory/firmware-map.ts'
import { parseMem, parseMemmap } from '../memory/memmap.ts'
import { type Range, intersect } from '../memory/range.ts'
import { visible } from '../base/text.ts'
import { MIB } from '../base/units.ts'
import type { Series, SeriesName } from '../tdx/series/index.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { Platform } from '../tdx/platform.ts'
import { PROFILES } from '../tdx/profile.ts'
import {
  type Expectation,
  expectProblems,
  expectationOf,
} from './expectation.ts'
import { type MachineSpec, machineSpec, machineSrat } from './machine-spec.ts'
import type { Problem } from './problem.ts'
import { type Step, dimmSizes, resolveSteps, stepProblems } from './steps.ts'
import type { Cell, CellInput } from './schema.ts'

/** One kernel, one machine, one command line. */
export interface Case {
  /** The cell as it is written, with what the matrix set. */
  readonly input: CellInput
  /** Unique within a run: `group/scenario[cell]@kernel`. */
  readonly id: string
  /** The scenario file. */
  readonly scenario: string
  readonly name: string
  readonly why: string
  readonly kernel: string
  readonly machine: MachineSpec
  readonly platform: Platform
  /** Kernel parameters of the scenario, without those of the rig. */
  readonly words: readonly string[]
  /** What happens once the kernel is up. */
  readonly steps: readonly Step[]
  readonly expect: Expectation
  /** What takes the place of {@link expect} on kernels of a series. */
  readonly expectOn: Readonly<Partial<Record<SeriesName, Expectation>>>
}

/** What a case must show on a kernel of a series. */
export const expectationOn = (
  { expect, expectOn }: Pick<Case, 'expect' | 'expectOn'>,
  series: Series | undefined,
): Expectation => (series && expectOn[series.name as SeriesName]) ?? expect

/** A cell without its name and kernel. */
export type CaseBody = Omit<Case, 'input' | 'id' | 'scenario' | 'kernel'>

/** Sapphire Rapids has 46 bits left for addresses once TME took its share. */
const PHYSICAL_BITS = 46

/** Parameters that would take the console or the trigger from the rig. */
const RESERVED = new Set([
  'console',
  'earlyprintk',
  'quiet',
  'loglevel',
  'kaslr',
  'nokaslr',
  'rdinit',
  'init',
  'initrd',
  'noinitrd',
  'root',
  'panic',
  'oops',
])

/** COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h), less the rig's words. */
const MAX_WORDS_LENGTH = 2047 - 256

/** @returns what to boot and expect, or all that is wrong with the cell */
export const caseBody = (
  cell: Cell,
): { readonly body: CaseBody } | { readonly problems: readonly Problem[] } => {
  const machine = machineSpec(cell.machine, dimmSizes(cell.steps))
  const problems = [
    ...('problems' in machine ? machine.problems : []),
    ...cmdlineProblems(cell),
    ...hotplugProblems(cell),
    ...cmrProblems(cell),
    ...faultProblems(cell),
    ...stepProblems(cell.steps, {
      nodes: cell.machine.nodes?.length ?? 0,
      size: 'spec' in machine ? machine.spec.memory.size : 0,
    }),
    ...expectProblems(cell, cell.expect, ['expect']),
    ...Object.entries(cell.expect.on).flatMap(([series, expect]) =>
      expectProblems(cell, expect, ['expect', 'on', series]),
    ),
  ]
  if ('problems' in machine || problems.length > 0) return { problems }
  return {
    body: {
      name: cell.name,
      why: cell.why,
      machine: machine.spec,
      platform: platformOf(cell, machine.spec),
      words: wordsOf(cell),
      steps: resolveSteps(
        cell.steps,
        machine.spec.memory,
        machineSrat(machine.spec),
      ),
      expect: expectationOf(cell.expect),
      expectOn: Object.fromEntries(
        Object.entries(cell.expect.on).map(([series, expect]) => [
          series,
          expectationOf(expect),
        ]),
      ),
    },
  }
}

const wordsOf = ({ cmdline }: Cell): string[] => [
  ...(cmdline.mem === undefined ? [] : [`mem=${cmdline.mem}`]),
  ...cmdline.memmap.map(value => `memmap=${value}`),
  ...cmdline.append,
]

const platformOf = ({ tdx }: Cell, machine: MachineSpec): Platform => ({
  keyids: tdx.keyids,
  module: tdx.module === 'none' ? null : tdx.module,
  x2apic: tdx.x2apic,
  cmrs: tdx.cmrs === 'auto' ? convertibleMemory(machine) : tdx.cmrs,
  lps: machine.cpus,
  packageOf: Array.from({ length: machine.cpus }, (_, cpu) =>
    Math.floor((cpu * machine.packages) / machine.cpus),
  ),
  physicalBits: PHYSICAL_BITS,
  faults: tdx.faults.map(fault => ({
    ...fault,
    cpu: fault.cpu,
    times: fault.times ?? Infinity,
  })),
})

/** All RAM but the first 1 MiB, which no platform reports as convertible. */
const convertibleMemory = ({ memory }: MachineSpec): Range[] =>
  ramRanges(memory).flatMap(
    range => intersect(range, { start: MIB, end: Infinity }) ?? [],
  )

const cmrProblems = ({ tdx }: Cell): Problem[] =>
  tdx.cmrs === 'auto'
    ? []
    : tdx.cmrs.flatMap(({ start, end }, i) =>
        start < end
          ? []
          : [{ at: ['tdx', 'cmrs', i], message: 'expected start below end' }],
      )

/** A fault that can never happen would make the scenario pass for nothing. */
const faultProblems = ({ tdx, machine, steps }: Cell): Problem[] =>
  tdx.faults.flatMap(({ cpu, leaf }, i) => {
    const problem = (key: string, message: string): Problem[] => [
      { at: ['tdx', 'faults', i, key], message },
    ]
    if (cpu !== undefined && cpu >= machine.cpus)
      return problem(
        'cpu',
        `CPU ${cpu} does not exist: the machine has CPUs 0 to ${machine.cpus - 1}`,
      )
    if (!steps.includes('trigger'))
      return problem('leaf', 'without a trigger step no leaf is called')
    return tdx.module !== 'none' && !PROFILES[tdx.module].leaves.has(LEAF[leaf])
      ? problem(
          'leaf',
          `module ${tdx.module} has no ${leaf.replaceAll('_', '.')}: the fault can never happen`,
        )
      : []
  })

/** Who puts hot-added memory online must be said by the steps. */
const hotplugProblems = ({ cmdline, steps }: Cell): Problem[] =>
  dimmSizes(steps).length === 0
    ? []
    : cmdline.append.flatMap((word, i) =>
        parseCmdline(word).some(({ name }) =>
          name.replaceAll('-', '_').endsWith('memhp_default_state'),
        )
          ? [
              {
                at: ['cmdline', 'append', i],
                message:
                  'with DIMMs the kernel must not put memory online by itself: use an online step',
              },
            ]
          : [],
      )

const cmdlineProblems = (cell: Cell): Problem[] => {
  const { memmap, mem, append } = cell.cmdline
  const problem = (at: Problem['at'], message: string): Problem => ({
    at: ['cmdline', ...at],
    message,
  })
  const problems = memmap.flatMap((value, i) => {
    const parsed = parseMemmap(value)
    return 'error' in parsed
      ? [
          problem(
            ['memmap', i],
            `memmap=${value}: the kernel would not parse '${parsed.error.element}': ${parsed.error.message}`,
          ),
        ]
      : []
  })
  const limit = mem === undefined ? undefined : parseMem(mem)
  if (limit && 'error' in limit)
    problems.push(problem(['mem'], `mem=${mem ?? ''}: ${limit.error.message}`))
  append.forEach((word, i) => {
    const message = appendProblem(word)
    if (message) problems.push(problem(['append', i], message))
  })
  if (Buffer.byteLength(wordsOf(cell).join(' ')) > MAX_WORDS_LENGTH)
    problems.push(
      problem(
        [],
        `the parameters are longer than ${MAX_WORDS_LENGTH} bytes: the kernel would cut them off`,
      ),
    )
  return problems
}

const appendProblem = (word: string): string | undefined => {
  if (visible(word) !== word)
    return 'control characters cannot be passed on a command line'
  if (splitWords(word).includes('--'))
    return "'--' would hide what follows from the kernel"
  const taken = parseCmdline(word).find(({ name }) =>
    RESERVED.has(name.replaceAll('-', '_')),
  )
  if (taken)
    return `'${taken.name}' is set by the rig itself and cannot be changed`
  const [error] = memoryParameters(word).errors
  return error && `'${error.element}': ${error.message}`
}
