import * as z from 'zod'
import { MIB } from '../base/units.ts'
import { OUTCOMES, STAGES } from '../tdx/outcome.ts'
import { MAX_NODES } from '../memory/rules.ts'
import { SERIES_NAMES } from '../tdx/series/index.ts'
import { metadataSchema } from './metadata-schema.ts'
import { LEAF_NAMES, faultSchema } from '../tdx/fault.ts'
import { DEFAULT_PROFILE, PROFILE_NAMES } from '../tdx/profile.ts'
import { firmwareSchema } from './firmware.ts'
import { CPU_MODEL_NAMES } from './cpu-models.ts'
import { parametersShape } from './parameters.ts'
import { UPDATE_RESULTS, stepsSchema } from './steps.ts'
import { cpuListSchema, sizeSchema } from './values.ts'

/** CONFIG_NR_CPUS of the shipped kernels. */
const MAX_CPUS = 64

/** KeyIDs have 15 bits in TME (IA32_TME_ACTIVATE); the module takes fewer. */
const MAX_KEYID_COUNT = 0x7fff

const nodeSchema = z
  .strictObject({
    memory: sizeSchema('the memory of the node'),
    cpus: cpuListSchema.optional(),
    start: sizeSchema('the address the node starts at').optional(),
  })
  .describe('A NUMA node. Nodes lie one after the other in memory.')

const needsSchema = z
  .strictObject({
    nodes: z.int().min(1).max(MAX_NODES).optional(),
    memory: sizeSchema('the least memory of the machine').optional(),
    cpus: z.int().min(1).max(MAX_CPUS).optional(),
  })
  .describe(
    'What any machine must have at least; where nothing else is said, one that just has it is built.',
  )

const machineSchema = z
  .strictObject({
    cpus: z.int().min(1).max(MAX_CPUS).default(2),
    cpuModel: z.enum(CPU_MODEL_NAMES).default('sapphire-rapids'),
    packages: z.int().min(1).max(MAX_CPUS).optional(),
    memory: sizeSchema('the memory of the machine').optional(),
    nodes: z.array(nodeSchema).min(1).max(MAX_NODES).optional(),
    firmware: firmwareSchema.prefault({}),
    needs: needsSchema.optional(),
  })
  .describe('The machine: its memory, or its NUMA nodes, and its CPUs.')

const rangeSchema = z.strictObject({
  start: sizeSchema('an address'),
  end: sizeSchema('an address'),
})

const tdxSchema = z
  .strictObject({
    module: z
      .enum([...PROFILE_NAMES, 'none'], {
        error: `expected ${PROFILE_NAMES.map(name => `'${name}'`).join(', ')} or 'none' (in quotes: 1.0 alone is a number)`,
      })
      .default(DEFAULT_PROFILE)
      .describe('Version of the TDX module, or none for no module.'),
    x2apic: z
      .boolean({ error: 'expected true or false' })
      .default(true)
      .describe('Whether the CPUs use x2APIC.'),
    vmx: z
      .boolean({ error: 'expected true or false' })
      .default(true)
      .describe('Whether the CPUs have VMX; only kernels ask that turn it on.'),
    vmxonFails: z
      .int({ error: 'expected the number of a CPU' })
      .min(0)
      .optional()
      .describe(
        'The CPU on which VMXON faults; only kernels meet it that turn VMX on.',
      ),
    updatesLeft: z
      .int()
      .min(0)
      .max(255)
      .default(4)
      .describe('Module updates that the P-SEAMLDR still takes.'),
    sysDisable: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe(
        'Whether the module has TDH.SYS.DISABLE, after which it can be initialised anew; no public module has it.',
      ),
    keyidMsrFaults: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe('Whether reading MSR 0x87, which has the KeyIDs, raises #GP.'),
    seamretClearsVmcs: z
      .boolean({ error: 'expected true or false' })
      .default(false)
      .describe(
        'Whether the CPUs have the erratum that a call of the P-SEAMLDR clears the current VMCS.',
      ),
    keyids: z
      .strictObject({
        mktme: z.int().min(0).max(MAX_KEYID_COUNT),
        tdx: z.int().min(0).max(MAX_KEYID_COUNT),
      })
      .default({ mktme: 31, tdx: 32 }),
    cmrs: z
      .union([z.literal('auto'), z.array(rangeSchema).max(32)], {
        error: "expected 'auto' or a list of { start, end }",
      })
      .default('auto'),
    faults: z.array(faultSchema).default([]),
    tdmrInit: sizeSchema('the part of a TDMR that a call initialises')
      .refine(size => size > 0 && size % (4 * MIB) === 0, {
        error: 'expected a multiple of 4M, which is what the module does',
      })
      .optional()
      .describe(
        'How much of a TDMR each TDH.SYS.TDMR.INIT does; default: all of it.',
      ),
    metadata: metadataSchema.default({}),
    failVmxonRegion: z
      .int({ error: 'expected the number of an allocation' })
      .min(1, { error: 'expected 1 for the first CPU, or more' })
      .max(MAX_CPUS)
      .optional()
      .describe(
        'Which allocation of a page for VMXON fails, of one for each possible CPU; only kernels that turn VMX on allocate them.',
      ),
    failAllocation: z
      .int({ error: 'expected the number of an allocation' })
      .min(1, { error: 'expected 1 for the first allocation, or more' })
      .max(10_000)
      .optional()
      .describe(
        'Which allocation of the TDX host support fails, in the order of the boot.',
      ),
  })
  .describe('The platform: KeyIDs, convertible memory, the TDX module.')

const CMDLINE = "expected a map such as { memmap: ['64M$0x140000000'] }"

const cmdlineSchema = z
  .strictObject(parametersShape, { error: CMDLINE })
  .describe('Kernel parameters, beside those the rig needs itself.')

const endingShape = {
  tdx: z
    .enum([...OUTCOMES, 'predicted'])
    .default('initialized')
    .describe('How TDX ends; predicted: whatever the model says.'),
  stage: z.enum(STAGES).optional(),
  errno: z
    .int()
    .max(-1, { error: 'an errno is negative, for example -28' })
    .min(-4095)
    .optional(),
  regions: z
    .array(
      z.strictObject({
        start: sizeSchema('an address'),
        end: sizeSchema('an address'),
        node: z.int().min(-1),
      }),
    )
    .optional(),
  pamtKiB: z.int().min(0).optional(),
  panic: z.string().min(1).optional(),
  warning: z
    .string()
    .min(1)
    .optional()
    .describe('Text of the warning that the kernel must print.'),
  hangs: z
    .enum(LEAF_NAMES, {
      error: 'expected the leaf that never returns, such as SYS.CONFIG',
    })
    .optional()
    .describe('The leaf at which the kernel must hang.'),
}

const nextSchema = z.strictObject({
  ...endingShape,
  tdx: endingShape.tdx.default('predicted'),
})

const outcomeSchema = z
  .strictObject({
    ...endingShape,
    refused: z
      .array(z.string(), { error: 'expected a list of names of memory' })
      .optional()
      .describe(
        'DIMMs and other memory that the kernel refuses to put online.',
      ),
    staysOnline: z
      .array(z.string(), { error: 'expected a list of names of memory' })
      .optional()
      .describe('Memory that the kernel refuses to take offline.'),
    updates: z
      .array(
        z.enum(UPDATE_RESULTS, {
          error: `expected what comes of each update: ${UPDATE_RESULTS.join(', ')}`,
        }),
        { error: 'expected a list, one for each update' },
      )
      .optional()
      .describe('What comes of each update of the module.'),
    freed: z
      .literal(true, { error: 'expected true, or nothing' })
      .optional()
      .describe(
        'After a failure all that the TDX host support allocated is freed.',
      ),
    kexec: nextSchema
      .optional()
      .describe('What must come out on the kernel of a kexec step.'),
  })
  .describe('What must come out; what is not said is taken from the model.')

const expectSchema = outcomeSchema.extend({
  on: z
    .partialRecord(z.enum(SERIES_NAMES), outcomeSchema)
    .default({})
    .describe('What must come out instead on kernels of one series.'),
})

/** Characters of a scenario's name. */
export const MAX_NAME = 120

/** What describes one case; a matrix may change any value in it. */
export const cellSchema = z.strictObject({
  name: z
    .string({ error: 'expected a short name' })
    .min(1)
    .max(MAX_NAME, `expected a name of at most ${MAX_NAME} characters`)
    .optional()
    .describe('A short name; default: the case itself.'),
  why: z
    .string({ error: 'expected the reason this is tested' })
    .min(1)
    .optional()
    .describe('Why this is tested.'),
  kernels: z.array(z.string()).min(1).optional(),
  machine: machineSchema,
  tdx: tdxSchema.prefault({}),
  cmdline: cmdlineSchema.prefault({}),
  steps: stepsSchema,
  expect: expectSchema.prefault({}),
})

export type Cell = z.output<typeof cellSchema>

/** The same as it is written in a file. */
export type CellInput = z.input<typeof cellSchema>

const combinationSchema = z.record(z.string(), z.unknown())

export const matrixSchema = z
  .object({
    include: z
      .array(combinationSchema, { error: 'expected a list of combinations' })
      .default([]),
    exclude: z
      .array(combinationSchema, { error: 'expected a list of combinations' })
      .default([]),
  })
  .catchall(z.array(z.unknown(), { error: 'expected a list of values' }).min(1))

export type Matrix = z.output<typeof matrixSchema>

/** A scenario file, for editors: https://json-schema.org/ draft 2020-12. */
export const scenarioJsonSchema = (): unknown =>
  z.toJSONSchema(
    cellSchema.extend({ matrix: matrixSchema.optional() }).meta({
      title: 'tdxrig scenario',
    }),
    { io: 'input' },
  )
