import * as z from 'zod'
import { OUTCOMES, STAGES } from '../tdx/outcome.ts'
import { SCOPES, VERDICTS } from '../judge/context.ts'
import { END_REASONS, WITNESS_NAMES } from '../machine/record.ts'
import { CPU_MODEL_NAMES } from '../scenario/cpu-models.ts'
import { faultSpelling } from '../tdx/fault.ts'
import { PROFILE_NAMES } from '../tdx/profile.ts'
import {
  addressSchema as address,
  entrySchema,
  layoutSchema,
  nodeRangeSchema as nodeRange,
  rangeSchema,
} from './layout-schema.ts'

/**
 * The result document: the one thing all reports are made from. Addresses and
 * 64-bit values are `"0x..."` strings; sizes that are counts are numbers.
 */

const span = z.strictObject({ base: address, size: address })

const reason = z.strictObject({
  kind: z.enum(['invalid', 'fail', 'error', 'skip']),
  check: z.string(),
  message: z.string(),
  expected: z.string().optional(),
  found: z.string().optional(),
  line: z.int().optional().describe('line of the console that shows it'),
})

const firmwareSchema = z
  .strictObject({
    e820: z.array(entrySchema).nullable().describe('null: that of SeaBIOS'),
    srat: z
      .strictObject({
        cpus: z.array(z.strictObject({ cpu: z.int(), domain: z.int() })),
        memory: z.array(
          z.strictObject({
            start: address,
            end: address,
            domain: z.int(),
            hotplug: z.boolean(),
          }),
        ),
      })
      .nullable()
      .describe('null: that of QEMU'),
  })
  .describe('what the scenario put in place of the firmware')

const tdxSchema = z.strictObject({
  outcome: z.enum(OUTCOMES),
  stage: z.enum(STAGES).nullable(),
  errno: z.int().nullable(),
  keyids: z.tuple([z.int(), z.int()]).nullable(),
  pamtKiB: z.int().nullable(),
  message: z.string().nullable(),
})

const predictedSchema = z.strictObject({
  outcome: z.enum(OUTCOMES).nullable(),
  stage: z.enum(STAGES).nullable(),
  errno: z.int().nullable(),
  why: z.string(),
})

const regionsSchema = z.strictObject({
  basis: z.enum(['machine', 'console']),
  predicted: z.array(nodeRange),
  expected: z
    .array(nodeRange)
    .nullable()
    .describe('those the scenario states itself; null: it states none'),
  printed: z.array(nodeRange).nullable(),
  memory: z.array(nodeRange).nullable(),
  atBoot: z
    .array(nodeRange)
    .nullable()
    .describe('the list in memory after the early initcalls'),
})

const tdmrsSchema = z
  .array(
    z.strictObject({
      base: address,
      size: address,
      pamt: z.array(span).length(3).describe('for pages of 4K, 2M and 1G'),
      reserved: z.array(span),
    }),
  )
  .nullable()

const seamcallsSchema = z
  .array(
    z.strictObject({
      leaf: z.int(),
      name: z.string(),
      status: address
        .nullable()
        .describe('null for VMfailInvalid, and for a call that never returned'),
      statusName: z.string().nullable(),
      cpu: z.int(),
    }),
  )
  .nullable()
  .describe('null: the module was not observed')

const cmdlineSchema = z.strictObject({
  asked: z.string(),
  effective: z.string().nullable(),
})

export const caseSchema = z.strictObject({
  id: z.string(),
  scenario: z.string().describe('path of the scenario file'),
  name: z.string(),
  why: z.string().describe("the scenario's reason; empty: it states none"),
  kernel: z.string(),
  machine: z.strictObject({
    board: z.string().describe('what the machine is built on'),
    cpus: z.int(),
    cpuModel: z.enum(CPU_MODEL_NAMES).describe('what TCG shows a kernel'),
    packages: z.int(),
    memory: z.string(),
    nodes: z.array(
      z.strictObject({ memory: z.string(), cpus: z.array(z.int()) }),
    ),
    firmware: firmwareSchema,
  }),
  words: z.array(z.string()).describe('kernel parameters of the scenario'),
  platform: z
    .strictObject({
      module: z.enum(PROFILE_NAMES).nullable().describe('null: none is loaded'),
      x2apic: z.boolean(),
      keyids: z.strictObject({ mktme: z.int(), tdx: z.int() }),
      cmrs: z.array(rangeSchema),
      lps: z.int().describe('logical processors the firmware counted'),
      faults: z.array(faultSpelling),
    })
    .describe('what was asked of the TDX module and the firmware'),
  steps: z.array(z.string()).describe('what happened once the kernel was up'),
  verdict: z.enum(VERDICTS),
  reasons: z.array(reason),
  scope: z
    .enum(SCOPES)
    .nullable()
    .default(null)
    .describe(
      'what was judged: all, or the layout of memory alone, of a kernel without TDX host support; null: nothing',
    ),
  passed: z.array(z.string()).describe('checks that found nothing wrong'),
  witnesses: z.array(z.enum(WITNESS_NAMES)).describe('who saw the boot'),
  unobserved: z
    .array(
      z.strictObject({
        check: z.string(),
        missing: z.array(z.enum(WITNESS_NAMES)),
      }),
    )
    .describe('checks that could not be made: they do not count'),
  tdx: tdxSchema.nullable().describe('null when nothing was booted'),
  predicted: predictedSchema.describe('what the model says'),
  layout: layoutSchema
    .omit({ regions: true })
    .describe('the layout of memory that the model says'),
  seen: z
    .strictObject({
      firmwareMap: z.array(entrySchema),
      extendedMap: z.array(entrySchema).nullable(),
      userMap: z.array(entrySchema).nullable(),
      memblock: z.array(nodeRange),
      cmrs: z.array(rangeSchema).nullable(),
    })
    .nullable()
    .describe('the memory the kernel printed; null: no console'),
  regions: regionsSchema,
  online: z
    .array(z.strictObject({ dimm: z.string(), result: z.string() }))
    .nullable()
    .describe(
      'what came of putting DIMMs and other memory online: taken, refused, or why not',
    ),
  memory: z
    .array(
      z.strictObject({
        memory: z.string(),
        step: z.string(),
        result: z.string(),
      }),
    )
    .nullable()
    .default(null)
    .describe(
      'what came of taking memory offline, of DIMMs that were unplugged, and of those the kernel did not add',
    ),
  updates: z
    .array(z.string())
    .nullable()
    .describe('what came of each update of the module'),
  tdmrs: tdmrsSchema,
  seamcalls: seamcallsSchema,
  next: z
    .strictObject({
      tdx: tdxSchema,
      predicted: predictedSchema,
      regions: regionsSchema,
      tdmrs: tdmrsSchema,
      seamcalls: seamcallsSchema,
      cmdline: cmdlineSchema,
      passed: z.array(z.string()),
    })
    .nullable()
    .default(null)
    .describe('of the kernel that a kexec step started; null: none began'),
  incidents: z.array(
    z.strictObject({ kind: z.string(), line: z.int(), text: z.string() }),
  ),
  end: z.enum(END_REASONS).nullable(),
  stuck: z.array(
    z.strictObject({
      cpu: z.int(),
      rip: address,
      symbol: z.string().nullable(),
    }),
  ),
  timing: z.strictObject({
    totalMs: z.number(),
    firstByteMs: z.number().nullable(),
    snapshot: z
      .boolean()
      .optional()
      .describe(
        'the boot went on from a snapshot of one that had begun in the same way, in front of its first SEAMCALL',
      ),
  }),
  cmdline: cmdlineSchema.nullable(),
  argv: z.array(z.string()),
  attempts: z
    .array(z.strictObject({ verdict: z.enum(VERDICTS), totalMs: z.number() }))
    .describe('boots of this case in this run, in their order'),
  console: z.string().nullable().describe('path, relative to this document'),
  reproduce: z.string().describe('one shell line that runs this case again'),
})

export const documentSchema = z
  .strictObject({
    schema: z.literal('tdxrig.result/3'),
    rig: z.strictObject({
      version: z.string(),
      machine: z.string(),
      board: z.string(),
    }),
    started: z.iso.datetime(),
    durationMs: z.number(),
    interrupted: z.boolean(),
    kernels: z.array(
      z.strictObject({
        name: z.string(),
        key: z.string().describe('hash of all that entered its build'),
        release: z
          .string()
          .nullable()
          .describe('as the image names it; null: it does not'),
        source: z
          .string()
          .optional()
          .describe('where its source comes from, where no recipe says it'),
      }),
    ),
    summary: z.strictObject({
      pass: z.int(),
      fail: z.int(),
      invalid: z.int(),
      error: z.int(),
      skip: z.int(),
    }),
    cases: z.array(caseSchema),
  })
  .meta({ title: 'tdxrig result document' })

export type CaseResult = z.output<typeof caseSchema>
export type ResultDocument = z.output<typeof documentSchema>

export const resultJsonSchema = (): unknown => z.toJSONSchema(documentSchema)

/**
 * What two runs are compared by. To check all of a large document takes longer
 * than to compare it.
 */
const comparedCaseSchema = z.object({
  ...caseSchema.pick({
    id: true,
    verdict: true,
    reasons: true,
    reproduce: true,
    tdx: true,
    regions: true,
  }).shape,
  layout: z.object(
    caseSchema.shape.layout.pick({ headroom: true, pamtKiB: true }).shape,
  ),
  tdmrs: z.array(z.object({ reserved: z.array(z.unknown()) })).nullable(),
})

export const comparedSchema = z.object({
  ...documentSchema.shape,
  cases: z.array(comparedCaseSchema),
})

export type ComparedCase = z.output<typeof comparedCaseSchema>
export type ComparedDocument = z.output<typeof comparedSchema>
