import * as z from 'zod'
import { MIB, alignUp } from '../base/units.ts'
import { MEMORY_BLOCK } from '../memory/memory-block.ts'
import type { BoardModel, MachineMemory } from '../board/board.ts'
import type { NodeRange, Range } from '../memory/range.ts'
import type { SratReading } from '../memory/srat.ts'
import { PROFILE_NAMES } from '../tdx/profile.ts'
import { IMAGE_KINDS, type UpdateImage } from '../tdx/seamldr.ts'
import { parameterWords, parametersShape } from './parameters.ts'
import { sizeSchema } from './values.ts'

/** What comes of an update: `unavailable` where the kernel offers none. */
export const UPDATE_RESULTS = ['done', 'refused', 'unavailable'] as const
export type UpdateResult = (typeof UPDATE_RESULTS)[number]

const nameSchema = (error: string) =>
  z
    .string({ error })
    .regex(/^[\w-]{1,32}$/, { error: 'expected letters, digits, _ and -' })

/** What memory is plugged with: ACPI tells of a DIMM, a driver of virtio-mem. */
const PLUG_DEVICES = ['dimm', 'virtio-mem'] as const
export type PlugDevice = (typeof PLUG_DEVICES)[number]

const plugSchema = z.strictObject({
  plug: z.strictObject({
    name: nameSchema('expected a name for the DIMM'),
    memory: sizeSchema('the memory of the DIMM'),
    node: z.int().min(0).default(0),
    start: sizeSchema('the address the DIMM starts at').optional(),
    as: z
      .enum(PLUG_DEVICES, {
        error: `expected the device: ${PLUG_DEVICES.join(' or ')}`,
      })
      .default('dimm'),
  }),
})
const bootRangeSchema = z.strictObject({
  name: nameSchema('expected a name for the memory'),
  start: sizeSchema('an address'),
  end: sizeSchema('an address'),
})
const onlineSchema = z.strictObject({
  online: z.string({ error: 'expected the name of a DIMM or other memory' }),
})
const offlineSchema = z.strictObject({
  offline: z.union([z.int().min(1), z.string(), bootRangeSchema], {
    error:
      'expected the number of a CPU from 1 on, the name of memory that was plugged, or boot memory: { name, start, end }',
  }),
})
const unplugSchema = z.strictObject({
  unplug: z.string({ error: 'expected the name of a DIMM' }),
})
/** What DAX devices there are made of. */
const DAX_SOURCES = ['persistent', 'soft-reserved'] as const
const kmemSchema = z.strictObject({
  kmem: bootRangeSchema.extend({
    from: z.enum(DAX_SOURCES, {
      error: `expected what the memory is: ${DAX_SOURCES.join(' or ')}`,
    }),
  }),
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
const machineCheckSchema = z.strictObject({
  machineCheck: z.union(
    [z.literal(['pamt', 'timer']), sizeSchema('pamt, timer or an address')],
    {
      error:
        'expected where memory is poisoned: pamt or an address such as 3G; or timer, for an error of something else',
    },
  ),
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
    z.literal(['trigger', 'retry']),
    plugSchema,
    onlineSchema,
    offlineSchema,
    unplugSchema,
    kmemSchema,
    updateSchema,
    machineCheckSchema,
    kexecSchema,
  ],
  {
    error:
      "expected 'trigger', 'retry', { plug: { name, memory, node, start, as } }, { online: name }, { offline: name, cpu or { name, start, end } }, { unplug: name }, { kmem: { name, start, end, from } }, { update: { module, image } }, { machineCheck: pamt, timer or an address } or { kexec: { memmap, append } }",
  },
)

export const stepsSchema = z
  .array(stepSchema, { error: 'expected a list of steps' })
  .default(['trigger'])
  .describe('What happens once the kernel is up, in order.')

export type StepsInput = z.output<typeof stepsSchema>

/** Memory that steps put online and take offline. */
export interface StepMemory {
  readonly name: string
  readonly range: Range
  /** `boot`: the kernel booted with it; `dax`: kmem made it RAM. */
  readonly kind: 'boot' | 'dimm' | 'dax'
}

/** Memory of a DAX device that becomes RAM, as far as it is whole blocks. */
export interface DaxMemory extends StepMemory {
  readonly kind: 'dax'
  readonly range: NodeRange
  /** The whole device: an entry of the memory map. */
  readonly device: Range
  /** Soft reserved memory is added at boot, persistent memory when asked. */
  readonly from: (typeof DAX_SOURCES)[number]
}

/** A DIMM of the machine that is plugged by a step. */
export interface Dimm extends StepMemory {
  readonly kind: 'dimm'
  /** Where it appears, with the kernel's number of its node. */
  readonly range: NodeRange
  /** The machine's number of its node. */
  readonly node: number
  readonly device: PlugDevice
}

/** One thing that happens once the kernel is up. */
export type Step =
  /** The TDX module is initialised. */
  | { readonly kind: 'trigger' }
  /** It is asked for once more. */
  | { readonly kind: 'retry' }
  /** A DIMM is plugged, and the kernel has taken notice. */
  | { readonly kind: 'plug'; readonly dimm: Dimm }
  /** A DIMM is taken away: the kernel takes its memory offline before. */
  | { readonly kind: 'unplug'; readonly dimm: Dimm }
  /** The memory of a DAX device is given to kmem, unless it has it already. */
  | { readonly kind: 'kmem'; readonly memory: DaxMemory }
  /** All memory blocks of some memory are put online. */
  | { readonly kind: 'online'; readonly memory: StepMemory }
  /** All memory blocks of some memory are taken offline. */
  | { readonly kind: 'offline memory'; readonly memory: StepMemory }
  /** A CPU is taken offline. */
  | { readonly kind: 'offline'; readonly cpu: number }
  /** The TDX module is updated at run time. */
  | { readonly kind: 'update'; readonly image: UpdateImage }
  /** Memory was poisoned, and a CPU reads it: the last step of a kernel. */
  | { readonly kind: 'machine check'; readonly at: Poisoned }
  /** The kernel starts itself again; it is the last step of a kernel. */
  | { readonly kind: 'kexec'; readonly next: NextKernel }

/** An address, or where the first PAMT is; `timer`: memory is well. */
export type Poisoned = number | 'pamt' | 'timer'

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

/** Where a machine check ends the steps; undefined: none does. */
export const poisonedBy = (steps: readonly Step[]): Poisoned | undefined => {
  const last = steps.at(-1)
  return last?.kind === 'machine check' ? last.at : undefined
}

/** Sizes of the DIMMs, in the order in which they are plugged. */
export const dimmSizes = (steps: StepsInput): number[] =>
  plugsOf(steps).map(({ memory }) => memory)

export type Plug = z.output<typeof plugSchema>['plug']

export const plugsOf = (steps: StepsInput): Plug[] =>
  steps.flatMap(step =>
    typeof step === 'object' && 'plug' in step ? [step.plug] : [],
  )

/** Boot memory that a step takes offline, by its name. */
export type BootRange = z.output<typeof bootRangeSchema>

export const bootRangesOf = (steps: StepsInput): BootRange[] =>
  steps.flatMap(step =>
    typeof step === 'object' &&
    'offline' in step &&
    typeof step.offline === 'object'
      ? [step.offline]
      : [],
  )

/** Memory that a step gives to kmem. */
export type KmemInput = z.output<typeof kmemSchema>['kmem']

export const kmemsOf = (steps: StepsInput): KmemInput[] =>
  steps.flatMap(step =>
    typeof step === 'object' && 'kmem' in step ? [step.kmem] : [],
  )

/** The information block of a namespace (nd_pfn_init(), drivers/nvdimm/pfn_devs.c). */
const INFO_BLOCK = 2 * MIB

/**
 * What kmem makes RAM of a device: whole memory blocks (dax_kmem_range(),
 * drivers/dax/kmem.c). Persistent memory begins with an information block.
 */
export const kmemRange = ({
  start,
  end,
  from,
}: Pick<KmemInput, 'start' | 'end' | 'from'>): Range => ({
  start: alignUp(
    from === 'persistent' ? start + INFO_BLOCK : start,
    MEMORY_BLOCK,
  ),
  end: Math.floor(end / MEMORY_BLOCK) * MEMORY_BLOCK,
})

/** What of a machine the steps depend on. */
export interface SteppedMachine {
  readonly memory: MachineMemory
  readonly srat: SratReading | undefined
  readonly model: BoardModel
}

/** Where each DIMM appears: where it is asked for, or where there is room. */
export const plugRanges = (
  plugs: readonly Plug[],
  { memory, model }: Pick<SteppedMachine, 'memory' | 'model'>,
): Range[] => {
  const ranges = model.dimmRanges(memory)
  return plugs.map(({ start, memory: size }, i) =>
    start === undefined
      ? (ranges[i] ?? { start: 0, end: size })
      : { start, end: start + size },
  )
}

/** Steps with their memory at the addresses it will have. */
export const resolveSteps = (
  steps: StepsInput,
  { memory, srat, model }: SteppedMachine,
): Step[] => {
  const plugs = plugsOf(steps)
  const ranges = plugRanges(plugs, { memory, model })
  const dimms = new Map(
    plugs.map(({ name, node, as }, i): [string, Dimm] => [
      name,
      {
        name,
        kind: 'dimm',
        device: as,
        node,
        range: { ...ranges[i]!, node: srat?.nodes.get(node) ?? 0 },
      },
    ]),
  )
  const boot = new Map(
    bootRangesOf(steps).map(({ name, start, end }): [string, StepMemory] => [
      name,
      { name, kind: 'boot', range: { start, end } },
    ]),
  )
  const dax = new Map(
    kmemsOf(steps).map((input): [string, DaxMemory] => [
      input.name,
      {
        name: input.name,
        kind: 'dax',
        from: input.from,
        device: { start: input.start, end: input.end },
        range: { ...kmemRange(input), node: nodeAt(input.start, srat) },
      },
    ]),
  )
  const named = (name: string): StepMemory =>
    dimms.get(name) ?? dax.get(name) ?? boot.get(name)!
  return steps.map((step): Step => {
    if (typeof step === 'string') return { kind: step }
    if ('plug' in step)
      return { kind: 'plug', dimm: dimms.get(step.plug.name)! }
    if ('kmem' in step)
      return { kind: 'kmem', memory: dax.get(step.kmem.name)! }
    if ('unplug' in step)
      return { kind: 'unplug', dimm: dimms.get(step.unplug)! }
    if ('online' in step) return { kind: 'online', memory: named(step.online) }
    if ('kexec' in step)
      return {
        kind: 'kexec',
        next: {
          words: parameterWords(step.kexec),
          steps: step.kexec.steps.map(() => ({ kind: 'trigger' })),
        },
      }
    if ('machineCheck' in step)
      return { kind: 'machine check', at: step.machineCheck }
    if ('update' in step) {
      const { module, image } = step.update
      return { kind: 'update', image: { module, kind: image } }
    }
    const { offline } = step
    if (typeof offline === 'number') return { kind: 'offline', cpu: offline }
    return {
      kind: 'offline memory',
      memory: named(typeof offline === 'string' ? offline : offline.name),
    }
  })
}

/** phys_to_target_node() (mm/numa_memblks.c); without a SRAT all is on node 0. */
const nodeAt = (address: number, srat: SratReading | undefined): number =>
  srat?.blocks.find(({ start, end }) => start <= address && address < end)
    ?.node ?? 0
