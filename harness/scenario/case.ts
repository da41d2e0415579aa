import { parseCmdline } from '../memory/cmdline.ts'
import { type Board, modelOf } from '../board/board.ts'
import { type Range, intersect } from '../memory/range.ts'
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
import { parameterProblems, parameterWords } from './parameters.ts'
import { placeParameters } from './placed-parameters.ts'
import type { Problem } from './problem.ts'
import { takesTooMuch, whyUnsuitable } from './on-host.ts'
import { stepProblems } from './step-problems.ts'
import { type Step, dimmSizes, resolveSteps } from './steps.ts'
import { type Cell, type CellInput, cellSchema } from './schema.ts'

/** Whose allocations are followed: TDX host support's, or those for VMXON. */
export type Allocator = 'TDX' | 'VMX'

/** What is done about the memory that TDX or VMX host support allocates. */
export interface AllocationPlan {
  readonly of: Allocator
  /** Number of the allocation that fails, from 1; undefined: none does. */
  readonly failing: number | undefined
}

/** One kernel, one machine, one command line. */
export interface Case {
  /** The cell as it is written, with what the matrix set. */
  readonly input: CellInput
  /** Unique within a run: `group/scenario[cell]@kernel`. */
  readonly id: string
  /** The scenario file. */
  readonly scenario: string
  readonly name: string
  /** Empty where the scenario does not say. */
  readonly why: string
  readonly kernel: string
  /** What the matrix of its scenario set, as `key=value`. */
  readonly matrix: readonly string[]
  readonly machine: MachineSpec
  readonly platform: Platform
  /** The kernel's allocations are followed; undefined: they are not. */
  readonly allocations: AllocationPlan | undefined
  /** Kernel parameters of the scenario, without those of the rig. */
  readonly words: readonly string[]
  /** What happens once the kernel is up. */
  readonly steps: readonly Step[]
  readonly expect: Expectation
  /** Why it cannot be booted on the machine that is there; undefined: it can. */
  readonly unsuitable?: string
  /** What takes the place of {@link expect} on kernels of a series. */
  readonly expectOn: Readonly<Partial<Record<SeriesName, Expectation>>>
}

/** What a case must show on a kernel of a series. */
export const expectationOn = (
  { expect, expectOn }: Pick<Case, 'expect' | 'expectOn'>,
  series: Series | undefined,
): Expectation => (series && expectOn[series.name as SeriesName]) ?? expect

/** What is booted and expected of a cell, whatever it is called. */
export interface CaseBody extends Omit<
  Case,
  'name' | 'input' | 'id' | 'scenario' | 'kernel' | 'matrix'
> {
  readonly name: string | undefined
}

/** Sapphire Rapids has 46 bits left for addresses once TME took its share. */
const PHYSICAL_BITS = 46

/** A cell with the machine it asks for. */
interface Looked {
  /** Its places are addresses, where the machine has them. */
  readonly cell: Cell
  readonly machine: ReturnType<typeof machineSpec>
  /** Places that the machine does not have. */
  readonly unplaced: readonly Problem[]
}

/** Something that may be wrong with a cell. */
interface CellCheck {
  /** Keys of the cell it looks at: where one cannot be read, it is left out. */
  readonly reads: readonly (keyof Cell)[]
  readonly look: (looked: Looked) => readonly Problem[]
}

const CHECKS: readonly CellCheck[] = [
  {
    reads: ['machine', 'steps'],
    look: ({ machine }) => ('problems' in machine ? machine.problems : []),
  },
  { reads: ['cmdline', 'steps'], look: ({ cell }) => cmdlineProblems(cell) },
  { reads: ['cmdline', 'machine', 'steps'], look: ({ unplaced }) => unplaced },
  { reads: ['cmdline', 'steps'], look: ({ cell }) => hotplugProblems(cell) },
  {
    reads: ['tdx', 'expect', 'steps'],
    look: ({ cell }) =>
      allocationsOf(cell) &&
      cell.steps.some(step => typeof step === 'object' && 'kexec' in step)
        ? [
            {
              at: ['steps'],
              message: 'allocations are not followed over a kexec',
            },
          ]
        : [],
  },
  { reads: ['tdx'], look: ({ cell }) => cmrProblems(cell) },
  {
    reads: ['tdx', 'machine', 'steps'],
    look: ({ cell }) => faultProblems(cell),
  },
  {
    reads: ['machine', 'steps'],
    look: ({ cell, machine }) =>
      stepProblems(cell.steps, {
        nodes: cell.machine.nodes?.length ?? 0,
        cpus: cell.machine.cpus,
        built:
          'spec' in machine
            ? {
                memory: machine.spec.memory,
                model: modelOf(machine.spec.board),
              }
            : undefined,
      }),
  },
  {
    reads: ['expect', 'steps'],
    look: ({ cell }) => [
      ...expectProblems(cell, cell.expect, ['expect']),
      ...Object.entries(cell.expect.on).flatMap(([series, expect]) =>
        expectProblems(cell, expect, ['expect', 'on', series]),
      ),
    ],
  },
]

const look = (asked: Cell, board: Board): Looked => {
  const machine = machineSpec(asked.machine, dimmSizes(asked.steps), board)
  // Of a machine that cannot be built nothing is known.
  const spec = 'spec' in machine ? machine.spec : undefined
  return { machine, ...withPlaces(asked, spec) }
}

/** Its places, and those of the kernel that it starts, as addresses. */
const withPlaces = (
  asked: Cell,
  machine: MachineSpec | undefined,
): Pick<Looked, 'cell' | 'unplaced'> => {
  const own = placeParameters(asked.cmdline, machine, ['cmdline'])
  const unplaced = [...own.unplaced]
  const steps = asked.steps.map((step, i) => {
    if (typeof step === 'string' || !('kexec' in step)) return step
    const at = ['steps', i, 'kexec']
    const next = placeParameters(step.kexec, machine, at)
    unplaced.push(...next.unplaced)
    return { kexec: next.parameters }
  })
  return { cell: { ...asked, cmdline: own.parameters, steps }, unplaced }
}

/**
 * What is wrong with a cell some keys of which could not be read.
 *
 * @param unreadable those keys: other values stand in their place
 */
export const cellProblems = (
  cell: Cell,
  board: Board,
  unreadable: ReadonlySet<string>,
): Problem[] => problemsOf(look(cell, board), unreadable)

const problemsOf = (
  looked: Looked,
  unreadable: ReadonlySet<string> = new Set(),
): Problem[] =>
  CHECKS.filter(({ reads }) => !reads.some(key => unreadable.has(key))).flatMap(
    check => check.look(looked),
  )

/** @returns what to boot and expect, or all that is wrong with the cell */
export const caseBody = (
  asked: Cell,
  board: Board,
): { readonly body: CaseBody } | { readonly problems: readonly Problem[] } => {
  const looked = look(asked, board)
  const { cell, machine } = looked
  if (board.found) {
    const reasons = [
      ...whyUnsuitable(asked),
      ...problemsOf(looked).map(({ message }) => message),
      ...('spec' in machine
        ? takesTooMuch(parameterWords(cell.cmdline), machine.spec)
        : []),
    ]
    if (reasons.length > 0)
      return { body: unsuitableBody(asked, board, reasons) }
  }
  const problems = problemsOf(looked)
  if ('problems' in machine || problems.length > 0) return { problems }
  return {
    body: {
      name: cell.name,
      why: cell.why ?? '',
      machine: machine.spec,
      platform: platformOf(cell, machine.spec),
      allocations: allocationsOf(cell),
      words: parameterWords(cell.cmdline),
      steps: resolveSteps(cell.steps, {
        memory: machine.spec.memory,
        srat: machineSrat(machine.spec),
        model: modelOf(board),
      }),
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

/** A case that is not booted, for these reasons. */
const unsuitableBody = (
  { name, why, expect }: Cell,
  board: Board,
  reasons: readonly string[],
): CaseBody => {
  const cell = cellSchema.parse({ machine: {} })
  const machine = machineSpec(cell.machine, [], board)
  if ('problems' in machine) throw new TypeError('a machine that needs nothing')
  return {
    name,
    why: why ?? '',
    machine: machine.spec,
    platform: platformOf(cell, machine.spec),
    allocations: undefined,
    words: [],
    steps: [{ kind: 'trigger' }],
    expect: expectationOf(expect),
    expectOn: {},
    unsuitable: reasons.join('; '),
  }
}

const platformOf = ({ tdx }: Cell, machine: MachineSpec): Platform => ({
  keyids: machine.board.found?.keyids ?? tdx.keyids,
  module: tdx.module === 'none' ? null : tdx.module,
  keyidMsrFaults: tdx.keyidMsrFaults,
  seamretClearsVmcs: tdx.seamretClearsVmcs,
  x2apic: tdx.x2apic,
  vmx: tdx.vmx,
  updatesLeft: tdx.updatesLeft,
  disables: tdx.sysDisable,
  cmrs: tdx.cmrs === 'auto' ? convertibleMemory(machine) : tdx.cmrs,
  lps: machine.cpus,
  packageOf:
    machine.board.found?.packageOf ??
    Array.from({ length: machine.cpus }, (_, cpu) =>
      Math.floor((cpu * machine.packages) / machine.cpus),
    ),
  physicalBits: PHYSICAL_BITS,
  faults: tdx.faults,
  vmxonFails: tdx.vmxonFails,
  tdmrInitBytes: tdx.tdmrInit,
  metadata: tdx.metadata,
})

/** They are followed where one of them fails, or where all must be freed. */
const allocationsOf = ({ tdx, expect }: Cell): AllocationPlan | undefined => {
  if (tdx.failVmxonRegion !== undefined)
    return { of: 'VMX', failing: tdx.failVmxonRegion }
  const failing = tdx.failAllocation
  const asked = [expect, ...Object.values(expect.on)]
  return failing !== undefined || asked.some(({ freed }) => freed === true)
    ? { of: 'TDX', failing }
    : undefined
}

/** All RAM but the first 1 MiB, which no platform reports as convertible. */
const convertibleMemory = ({ board, memory }: MachineSpec): readonly Range[] =>
  board.found?.cmrs ??
  modelOf(board)
    .ramRanges(memory)
    .flatMap(range => intersect(range, { start: MIB, end: Infinity }) ?? [])

const cmrProblems = ({ tdx }: Cell): Problem[] =>
  tdx.cmrs === 'auto'
    ? []
    : tdx.cmrs.flatMap(({ start, end }, i) =>
        start < end
          ? []
          : [{ at: ['tdx', 'cmrs', i], message: 'expected start below end' }],
      )

/** A fault that can never happen would make the scenario pass for nothing. */
const faultProblems = (cell: Cell): Problem[] => [
  ...vmxonProblems(cell),
  ...allocationProblems(cell),
  ...leafProblems(cell),
]

const vmxonProblems = ({ tdx, machine: { cpus } }: Cell): Problem[] => [
  ...(tdx.vmxonFails !== undefined && tdx.vmxonFails >= cpus
    ? [
        {
          at: ['tdx', 'vmxonFails'],
          message: `CPU ${tdx.vmxonFails} does not exist: the machine has CPUs 0 to ${cpus - 1}`,
        },
      ]
    : []),
  ...((tdx.failVmxonRegion ?? 0) > cpus
    ? [
        {
          at: ['tdx', 'failVmxonRegion'],
          message: `there is one for each CPU, and the machine has ${cpus}: expected ${cpus} or less, found ${tdx.failVmxonRegion}`,
        },
      ]
    : []),
]

/** Each starts at a call of its own, and VMX comes first. */
const allocationProblems = ({ tdx }: Cell): Problem[] =>
  tdx.failVmxonRegion !== undefined && tdx.failAllocation !== undefined
    ? [
        {
          at: ['tdx', 'failAllocation'],
          message:
            'a kernel without a VMXON region allocates nothing for TDX: expected failVmxonRegion or failAllocation, found both',
        },
      ]
    : []

const leafProblems = ({ tdx, machine, steps }: Cell): Problem[] =>
  tdx.faults.flatMap(({ cpu, package: own, leaf }, i) => {
    if (steps.some(step => typeof step === 'object' && 'kexec' in step))
      return [
        {
          at: ['tdx', 'faults', i],
          message:
            'the model does not follow faults over a kexec: their calls would be counted over both kernels',
        },
      ]
    const { packages = 1 } = machine
    const problem = (key: string, message: string): Problem[] => [
      { at: ['tdx', 'faults', i, key], message },
    ]
    if (cpu !== undefined && cpu >= machine.cpus)
      return problem(
        'cpu',
        `CPU ${cpu} does not exist: the machine has CPUs 0 to ${machine.cpus - 1}`,
      )
    if (own !== undefined && own >= packages)
      return problem(
        'package',
        `package ${own} does not exist: the machine has packages 0 to ${packages - 1}`,
      )
    return tdx.module !== 'none' &&
      !leaf.startsWith('SEAMLDR') &&
      !PROFILES[tdx.module].leaves.has(LEAF[leaf])
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

const cmdlineProblems = ({ cmdline, steps }: Cell): Problem[] => [
  ...parameterProblems(cmdline, ['cmdline']),
  ...steps.flatMap((step, i) =>
    typeof step === 'object' && 'kexec' in step
      ? parameterProblems(step.kexec, ['steps', i, 'kexec'])
      : [],
  ),
]
