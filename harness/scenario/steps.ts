import * as z from 'zod'
import { GIB, MIB, formatSize, hex } from '../base/units.ts'
import type { BoardModel, MachineMemory } from '../board/board.ts'
import type { NodeRange } from '../memory/range.ts'
import type { SratReading } from '../memory/srat.ts'
import type { Problem } from './problem.ts'
import { sizeSchema } from './values.ts'

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
const stepSchema = z.union([z.literal('trigger'), plugSchema, onlineSchema], {
  error:
    "expected 'trigger', { plug: { name, memory, node } } or { online: name }",
})

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
  { nodes, end }: { readonly nodes: number; readonly end: number },
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
    } else {
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
