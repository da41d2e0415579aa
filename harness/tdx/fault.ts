import * as z from 'zod'
import { hex } from '../base/units.ts'
import { nearest } from '../base/yaml-file.ts'
import { LEAF, type LeafName } from './leaves.ts'
import {
  SEAMLDR_STATUS,
  SOFTWARE_STATUS,
  STATUS,
  type StatusName,
  OPERAND,
  status as statusOf,
  statusWithBytes,
} from './status.ts'

/** How a call ends that a fault meets: a status, CF without one, or not at all. */
export type FaultEnd = bigint | 'VMfailInvalid' | 'hangs'

/** A fault that the module reports instead of doing the work of a leaf. */
export interface Fault {
  readonly leaf: LeafName
  readonly end: FaultEnd
  /** Only on this logical processor; undefined for any. */
  readonly cpu: number | undefined
  /** Only on logical processors of this package; undefined for any. */
  readonly package: number | undefined
  /** Only where this field of the metadata is read; undefined for any. */
  readonly field: bigint | undefined
  /** The first of the calls it is about that fails, counted from 1. */
  readonly call: number
  /** How many calls fail before the leaf works; Infinity for all. */
  readonly times: number
}

/** Every call of a leaf ends so. */
export const alwaysFails = (leaf: LeafName, end: FaultEnd): Fault => ({
  leaf,
  end,
  cpu: undefined,
  package: undefined,
  field: undefined,
  call: 1,
  times: Infinity,
})

/** A call as far as a fault looks at it. */
export interface FaultedCall {
  readonly leaf: number
  readonly cpu: number
  readonly package: number
  /** RDX of TDH.SYS.RD. */
  readonly field: bigint | undefined
}

const HEX = /^0x[0-9a-f]{1,16}$/i

/** What the kernel makes of an exception at a SEAMCALL; CF has no status. */
const SPECIAL: Readonly<Record<string, FaultEnd>> = {
  VMfailInvalid: 'VMfailInvalid',
  hangs: 'hangs',
  '#GP': SOFTWARE_STATUS.SEAMCALL_GP,
  '#UD': SOFTWARE_STATUS.SEAMCALL_UD,
}

const SEAMLDR: Readonly<Record<string, bigint>> = Object.fromEntries(
  Object.entries(SEAMLDR_STATUS).map(([name, value]) => [
    `SEAMLDR_${name}`,
    value,
  ]),
)

/** Statuses of the module take an operand or indices. */
const isOfModule = (name: string): name is StatusName =>
  name in STATUS && name !== 'SUCCESS'

const ALL_NAMES = [
  ...Object.keys(SPECIAL),
  ...Object.keys(STATUS).filter(isOfModule),
  ...Object.keys(SEAMLDR),
]

const isEnd = (text: string): boolean =>
  ALL_NAMES.includes(text) || (HEX.test(text) && BigInt(text) !== 0n)

const statusSchema = z
  .string({
    error:
      "expected a status such as KEY_GENERATION_FAILED, VMfailInvalid, '#GP' or '0xc000090000000000', in quotes",
  })
  .refine(isEnd, {
    error: ({ input }) => {
      const near = nearest(String(input), ALL_NAMES)
      return `expected the name of a status that is an error, VMfailInvalid, '#GP', '#UD', hangs, or a number such as '0xc000090000000000', found '${String(input)}'${near === undefined ? '' : `: did you mean ${near}?`}`
    },
  })

const dotted = (leaf: string): string => leaf.replaceAll('_', '.')

/** Leaves as scenarios spell them. */
export const LEAF_NAMES = Object.keys(LEAF).map(dotted) as [string, ...string[]]
const OPERAND_NAMES = Object.keys(OPERAND) as [
  keyof typeof OPERAND,
  ...(keyof typeof OPERAND)[],
]

const MAX_INDICES = 4

/** As scenarios, bundles and results spell it. */
const spelling = z
  .strictObject({
    leaf: z.enum(LEAF_NAMES),
    status: statusSchema,
    operand: z
      .enum(OPERAND_NAMES)
      .optional()
      .describe('what the status is about, where it has a name'),
    indices: z
      .array(z.int().min(0).max(255))
      .min(1)
      .max(MAX_INDICES)
      .optional()
      .describe(
        'bytes of its lower half: of a TDMR, of a PAMT level or a reserved area, of another TDMR',
      ),
    cpu: z.int().min(0).optional().describe('default: any'),
    package: z.int().min(0).optional().describe('default: any'),
    field: z
      .string()
      .regex(HEX, {
        error:
          "expected the id of a metadata field such as '0x9100000100000008'",
      })
      .optional()
      .describe('only where this field is read; default: any'),
    call: z
      .int()
      .min(1)
      .optional()
      .describe('the first of those calls that fails; default: 1'),
    times: z.int().min(1).optional().describe('default: always'),
  })
  .superRefine(({ leaf, status, operand, indices, field }, context) => {
    const complain = (key: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [key], message })
    }
    for (const [key, value] of [
      ['operand', operand],
      ['indices', indices],
    ] as const)
      if (value !== undefined && !isOfModule(status))
        complain(key, `expected it with a status of the module by its name`)
    if (operand !== undefined && indices !== undefined)
      complain('indices', 'expected an operand or indices, found both')
    if (field !== undefined && leaf !== 'SYS.RD')
      complain('field', `expected it with SYS.RD, found it with ${leaf}`)
  })

const endOf = ({
  status,
  operand,
  indices = [],
}: z.output<typeof spelling>): FaultEnd => {
  if (isOfModule(status))
    return operand === undefined
      ? statusWithBytes(status, ...indices)
      : statusOf(status, OPERAND[operand])
  return SPECIAL[status] ?? SEAMLDR[status] ?? BigInt(status)
}

/** The one spelling of a fault, in both directions; numbers are written back. */
export const faultSchema = z.codec(spelling, z.custom<Fault>(), {
  decode: (spelled): Fault => ({
    leaf: spelled.leaf.replaceAll('.', '_') as LeafName,
    end: endOf(spelled),
    cpu: spelled.cpu,
    package: spelled.package,
    field: spelled.field === undefined ? undefined : BigInt(spelled.field),
    call: spelled.call ?? 1,
    times: spelled.times ?? Infinity,
  }),
  encode: fault => ({
    leaf: dotted(fault.leaf),
    status: typeof fault.end === 'bigint' ? hex(fault.end) : fault.end,
    ...(fault.cpu !== undefined && { cpu: fault.cpu }),
    ...(fault.package !== undefined && { package: fault.package }),
    ...(fault.field !== undefined && { field: hex(fault.field) }),
    ...(fault.call > 1 && { call: fault.call }),
    ...(Number.isFinite(fault.times) && { times: fault.times }),
  }),
})

/** For documents that hold nothing but JSON. */
export const faultSpelling = spelling

/** Counts which faults of a platform happened, and how often. */
export class Faults {
  readonly #faults: readonly Fault[]
  /** Calls that each was about, whether they failed or not. */
  readonly #calls = new Map<Fault, number>()
  readonly #met = new Set<Fault>()

  constructor(faults: readonly Fault[]) {
    this.#faults = faults
  }

  /** Faults that no call ever met. */
  get unmet(): readonly Fault[] {
    return this.#faults.filter(fault => !this.#met.has(fault))
  }

  /** How this call must fail, if at all; counts it. The first fault decides. */
  answer(call: FaultedCall): FaultEnd | undefined {
    let end: FaultEnd | undefined
    for (const fault of this.#faults) {
      if (end !== undefined || !isAbout(fault, call)) continue
      const calls = (this.#calls.get(fault) ?? 0) + 1
      this.#calls.set(fault, calls)
      if (calls < fault.call || calls >= fault.call + fault.times) continue
      this.#met.add(fault)
      ;({ end } = fault)
    }
    return end
  }
}

const isAbout = (fault: Fault, call: FaultedCall): boolean =>
  LEAF[fault.leaf] === call.leaf &&
  (fault.cpu === undefined || fault.cpu === call.cpu) &&
  (fault.package === undefined || fault.package === call.package) &&
  (fault.field === undefined || fault.field === call.field)
