import * as z from 'zod'
import { GIB, MIB, formatSize, hex } from '../base/units.ts'
import type { BoardModel, MachineMemory } from '../board/board.ts'
import type { NodeRange } from '../memory/range.ts'
import type { SratReading } from '../memory/srat.ts'
import { PROFILE_NAMES } from '../tdx/profile.ts'
import { IMAGE_KINDS, type UpdateImage } from '../tdx/seamldr.ts'
import { parameterWords, parametersShape } from './parameters.ts'
import type { Problem } from './problem.ts'
import { sizeSchema } from './values.ts'

/** What comes of an update: `unavailable` where the kernel offers none. */
export const UPDATE_RESULTS = ['done', 'refused', 'unavailable'] as const
export type UpdateResult = (typeof UPDATE_RESULTS)[number]

const plugSchema = z.strictObject({
  plug: z.strictObject({
    name: z
      .string({ error: 'expected a name for the DIMM' })
      .regex(/^[\w-]{1,32}$/, { error: 'expected letters, digits, _ and -' }),
    memory: sizeSchema('the memory of the DIMM'),
    node: z.int().min(0).default(0),
  }),
})
const onlineSchema = z.strictObject({
  online: z.string({ error: 'expected the name of a DIMM' }),
})
const offlineSchema = z.strictObject({
  offline: z.int({ error: 'expected the number of a CPU' }).min(1),
})
const updateSchema = z.strictObject({
  update: z.strictObject({
    module: z.enum(PROFILE_NAMES, {
      error: `expected the module to update to: ${PROFILE_NAMES.join(', ')}`,
    }),
    image: z
      .enum(IMAGE_KINDS, {
        error: `expected what the image is like: ${IMAGE_KINDS.join(', ')}`,
      })
      .default('good'),
  }),
})
const nextStepSchema = z.literal('trigger', {
  error: "expected 'trigger': nothing else is done on the next kernel",
})
const kexecSchema = z.strictObject({
  kexec: z
    .strictObject(
      {
        ...parametersShape,
        steps: z.array(nextStepSchema).max(1).default(['trigger']),
      },
      {
        error:
          "expected the next kernel's parameters, as in { memmap: ['64M$0x140000000'], append: [kho=on] }",
      },
    )
    .describe(
      'The same kernel is started again with kexec; its parameters, and what is done there.',
    ),
})
const stepSchema = z.union(
  [
    z.literal('trigger'),
    plugSchema,
    onlineSchema,
    offlineSchema,
    updateSchema,
    kexecSchema,
  ],
  {
    error:
      "expected 'trigger', { plug: { name, memory, node } }, { online: name }, { offline: cpu }, { update: { module, image } } or { kexec: { memmap, append } }",
  },
)

export const stepsSchema = z
  .array(stepSchema, { error: 'expected a list of steps' })
  .default(['trigger'])
  .describe('What happens once the kernel is up, in order.')

export type StepsInput = z.output<typeof stepsSchema>

/** A DIMM of the machine that is plugged by a step. */
export interface Dimm {
  readonly name: string
  /** Where it appears, with the kernel's number of its node. */
  readonly range: NodeRange
  /** The machine's number of its node. */
  readonly node: number
}

/** One thing that happens once the kernel is up. */
export type Step =
  /** The TDX module is initialised. */
  | { readonly kind: 'trigger' }
  /** A DIMM is plugged, and the kernel has taken notice. */
  | { readonly kind: 'plug'; readonly dimm: Dimm }
  /** All memory blocks of a DIMM are put online. */
  | { readonly kind: 'online'; readonly dimm: Dimm }
  /** A CPU is taken offline. */
  | { readonly kind: 'offline'; readonly cpu: number }
  /** The TDX module is updated at run time. */
  | { readonly kind: 'update'; readonly image: UpdateImage }
  /** The kernel starts itself again; it is the last step of a kernel. */
  | { readonly kind: 'kexec'; readonly next: NextKernel }

/** What is asked of a kernel that another one starts. */
export interface NextKernel {
  /** Kernel parameters of the scenario, without those of the rig. */
  readonly words: readonly string[]
  readonly steps: readonly Step[]
}

/** What the steps of a kernel end with; undefined: no other kernel. */
export const nextKernelOf = (
  steps: readonly Step[],
): NextKernel | undefined => {
  const last = steps.at(-1)
  return last?.kind === 'kexec' ? last.next : undefined
}

/** Sizes of the DIMMs, in the order in which they are plugged. */
export const dimmSizes = (steps: StepsInput): number[] =>
  plugs(steps).map(({ memory }) => memory)

const plugs = (steps: StepsInput): z.output<typeof plugSchema>['plug'][] =>
  steps.flatMap(step =>
    typeof step === 'object' && 'plug' in step ? [step.plug] : [],
  )

/** What of a machine the steps depend on. */
export interface SteppedMachine {
  readonly memory: MachineMemory
  readonly srat: SratReading | undefined
  readonly model: BoardModel
}

/** Steps with their DIMMs at the addresses they will have. */
export const resolveSteps = (
  steps: StepsInput,
  { memory, srat, model }: SteppedMachine,
): Step[] => {
  const ranges = model.dimmRanges(memory)
  const dimms = new Map(
    plugs(steps).map(({ name, node }, i): [string, Dimm] => [
      name,
      {
        name,
        node,
        range: { ...ranges[i]!, node: srat?.nodes.get(node) ?? 0 },
      },
    ]),
  )
  return steps.map((step): Step => {
    if (step === 'trigger') return { kind: 'trigger' }
    if ('offline' in step) return { kind: 'offline', cpu: step.offline }
    if ('kexec' in step)
      return {
        kind: 'kexec',
        next: {
          words: parameterWords(step.kexec),
          steps: step.kexec.steps.map(() => ({ kind: 'trigger' })),
        },
      }
    if ('update' in step) {
      const { module, image } = step.update
      return { kind: 'update', image: { module, kind: image } }
    }
    return 'plug' in step
      ? { kind: 'plug', dimm: dimms.get(step.plug.name)! }
      : { kind: 'online', dimm: dimms.get(step.online)! }
  })
}

/** memory_block_size_bytes() of a guest (arch/x86/mm/init_64.c). */
const MEMORY_BLOCK = 128 * MIB
/** From here on blocks grow (probe_memory_block_size()). */
const LARGE_BLOCKS = 64 * GIB
/** More than anybody needs; each costs ACPI events. */
const MAX_DIMMS = 16

/**
 * Steps that no machine can go through.
 *
 * @param machine how many nodes it has, and where its memory ends
 */
export const stepProblems = (
  steps: StepsInput,
  {
    nodes,
    end,
    cpus,
  }: { readonly nodes: number; readonly end: number; readonly cpus: number },
): Problem[] => {
  const problems: Problem[] = []
  if (end >= LARGE_BLOCKS && plugs(steps).length > 0)
    problems.push({
      at: ['steps'],
      message: `DIMMs can be plugged into machines whose memory ends below ${hex(LARGE_BLOCKS)}, this one's ends at ${hex(end)}: there kernels add memory in larger blocks`,
    })
  const plugged = new Set<string>()
  const online = new Set<string>()
  let triggered = false
  steps.forEach((step, i) => {
    const problem = (at: string[], message: string): void => {
      problems.push({ at: ['steps', i, ...at], message })
    }
    if (step === 'trigger') {
      if (triggered) problem([], 'the module can be initialised once')
      triggered = true
    } else if ('plug' in step) {
      const { name, memory, node } = step.plug
      if (plugged.has(name))
        problem(['plug', 'name'], `there is a DIMM '${name}' already`)
      plugged.add(name)
      if (memory === 0 || memory % MEMORY_BLOCK !== 0)
        problem(
          ['plug', 'memory'],
          `expected a multiple of ${formatSize(MEMORY_BLOCK)}, which is what a kernel can add, found ${formatSize(memory)}`,
        )
      if (node >= Math.max(1, nodes))
        problem(
          ['plug', 'node'],
          `there is no node ${node}: the machine has ${Math.max(1, nodes)}`,
        )
    } else if ('kexec' in step) {
      if (i < steps.length - 1)
        problem(
          [],
          'kexec ends the kernel: it is the last step; what follows goes into its own steps',
        )
      const other = steps.find(
        one => typeof one === 'object' && ('plug' in one || 'update' in one),
      )
      if (other)
        problem(
          [],
          'before kexec only trigger and offline are possible: the model does not follow DIMMs and updates to the next kernel',
        )
    } else if ('offline' in step) {
      if (step.offline >= cpus)
        problem(
          ['offline'],
          `CPU ${step.offline} does not exist: the machine has CPUs 0 to ${cpus - 1}`,
        )
    } else if ('online' in step) {
      const name = step.online
      if (!plugged.has(name))
        problem(
          ['online'],
          `no DIMM '${name}' was plugged before${plugged.size > 0 ? ` (there are: ${[...plugged].join(', ')})` : ''}`,
        )
      if (online.has(name)) problem(['online'], `'${name}' is online already`)
      online.add(name)
    }
  })
  if (plugged.size > MAX_DIMMS)
    problems.push({
      at: ['steps'],
      message: `expected at most ${MAX_DIMMS} DIMMs, found ${plugged.size}`,
    })
  return problems
}
