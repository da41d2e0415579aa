import { hex } from '../base/units.ts'
import { LEAF, type LeafName, leafName } from './leaves.ts'
import { OPERAND, type StatusName, statusName } from './status.ts'

/** What a completion status says, in words. */
export interface DecodedStatus {
  /** Undefined for a code we do not know. */
  readonly name: string | undefined
  /** What kind of thing is wrong (bits 47:40). */
  readonly class: string
  /** The operand, MSR, TDMR or area that bits 31:0 name. */
  readonly detail: string | undefined
}

/** Registers a SEAMCALL came back with, as far as they are known. */
export type Returned = Readonly<
  Partial<Record<'rcx' | 'rdx' | 'r8' | 'r9' | 'r10' | 'r11', bigint>>
>

/** Classes of status codes (TDX module ABI, completion status). */
const CLASSES: ReadonlyMap<number, string> = new Map<number, string>([
  [0x00, 'general'],
  [0x01, 'operand'],
  [0x02, 'resource busy'],
  [0x03, 'page metadata'],
  [0x04, 'dependent resources'],
  [0x05, 'module state'],
  [0x06, 'TD state'],
  [0x07, 'TD vCPU state'],
  [0x08, 'key management'],
  [0x09, 'platform state'],
  [0x0a, 'physical memory'],
  [0x0b, 'secure EPT'],
  [0x0c, 'metadata'],
  [0xff, 'the CPU or the kernel'],
])

const OPERANDS: ReadonlyMap<number, string> = new Map(
  Object.entries(OPERAND).map(([name, id]) => [id, name]),
)

/** MSRs that SYS.INIT and SYS.LP.INIT look at (tdh_sys_init.c, *_lp_init.c). */
const MSRS: ReadonlyMap<number, string> = new Map<number, string>([
  [0x3b, 'IA32_TSC_ADJUST'],
  [0x87, 'IA32_MKTME_KEYID_PARTITIONING'],
  [0xbd, 'IA32_XAPIC_DISABLE_STATUS'],
  [0xcf, 'IA32_CORE_CAPABILITIES'],
  [0xfe, 'IA32_MTRRCAP'],
  [0x10a, 'IA32_ARCH_CAPABILITIES'],
  [0x122, 'IA32_TSX_CTRL'],
  [0x1bc, 'IA32_MISC_PACKAGE_CTLS'],
  [0x345, 'IA32_PERF_CAPABILITIES'],
  [0x480, 'IA32_VMX_BASIC'],
  [0x981, 'IA32_TME_CAPABILITY'],
  [0x982, 'IA32_TME_ACTIVATE'],
  [0x98d, 'IA32_WBINVDP'],
])

const PAMT_LEVELS = ['4K', '2M', '1G'] as const

type Detail = (bits: number, registers: Returned) => string | undefined

const operand: Detail = bits => {
  const name = OPERANDS.get(bits & 0xff)
  return name === undefined ? undefined : `operand ${name}`
}

const msr: Detail = bits => {
  const name = MSRS.get(bits)
  return `MSR ${hex(bits)}${name === undefined ? '' : ` (${name})`}`
}

const byte = (bits: number, index: number): number =>
  (bits >>> (8 * index)) & 0xff

const tdmr: Detail = bits => `TDMR ${byte(bits, 0)}`

const area: Detail = bits =>
  `TDMR ${byte(bits, 0)}, reserved area ${byte(bits, 1)}`

const pamt: Detail = bits => {
  const level = PAMT_LEVELS[byte(bits, 1)]
  return `TDMR ${byte(bits, 0)}${level === undefined ? '' : `, PAMT of ${level} pages`}`
}

const overlap: Detail = (bits, registers) =>
  `${pamt(bits, registers) ?? ''}, with TDMR ${byte(bits, 2)}`

/** tdh_sys_init.c returns what it found in RCX and R9, R10. */
const cpuid: Detail = (_, { rcx }) =>
  rcx === undefined || rcx === 0n
    ? undefined
    : `CPUID leaf ${hex(rcx & 0xffffffffn)}, subleaf ${hex(rcx >> 32n)}`

const DETAILS: Readonly<Partial<Record<StatusName, Detail>>> = {
  OPERAND_INVALID: operand,
  OPERAND_ADDR_RANGE_ERROR: operand,
  OPERAND_BUSY: operand,
  PAGE_METADATA_INCORRECT: operand,
  INCORRECT_MSR_VALUE: msr,
  INCONSISTENT_MSR: msr,
  INCORRECT_CPUID_VALUE: cpuid,
  INVALID_TDMR: tdmr,
  NON_ORDERED_TDMR: tdmr,
  TDMR_OUTSIDE_CMRS: tdmr,
  INVALID_PAMT: pamt,
  PAMT_OUTSIDE_CMRS: pamt,
  PAMT_OVERLAP: overlap,
  INVALID_RESERVED_IN_TDMR: area,
  NON_ORDERED_RESERVED_IN_TDMR: area,
}

/** @param registers what the call returned beside its status */
export const decodeStatus = (
  status: bigint,
  registers: Returned = {},
): DecodedStatus => {
  const name = statusName(status)
  const code = Number((status >> 40n) & 0xffn)
  const detail = DETAILS[name as StatusName]
  return {
    name,
    class:
      status >> 32n === 0n
        ? 'success'
        : (CLASSES.get(code) ?? `class ${hex(code)}`),
    detail: detail?.(Number(status & 0xffffffffn), registers),
  }
}

/** Leaves of TDs and pages, which come after the initialisation. */
const RUNTIME_LEAVES: ReadonlyMap<number, string> = new Map<number, string>([
  [0, 'VP.ENTER'],
  [1, 'MNG.ADDCX'],
  [2, 'MEM.PAGE.ADD'],
  [3, 'MEM.SEPT.ADD'],
  [4, 'VP.ADDCX'],
  [6, 'MEM.PAGE.AUG'],
  [7, 'MEM.RANGE.BLOCK'],
  [8, 'MNG.KEY.CONFIG'],
  [9, 'MNG.CREATE'],
  [10, 'VP.CREATE'],
  [11, 'MNG.RD'],
  [16, 'MR.EXTEND'],
  [17, 'MR.FINALIZE'],
  [18, 'VP.FLUSH'],
  [19, 'MNG.VPFLUSHDONE'],
  [20, 'MNG.KEY.FREEID'],
  [21, 'MNG.INIT'],
  [22, 'VP.INIT'],
  [26, 'VP.RD'],
  [28, 'PHYMEM.PAGE.RECLAIM'],
  [29, 'MEM.PAGE.REMOVE'],
  [38, 'MEM.TRACK'],
  [40, 'PHYMEM.CACHE.WB'],
  [41, 'PHYMEM.PAGE.WBINVD'],
  [43, 'VP.WR'],
  [69, 'SYS.DISABLE'],
])

export const isRuntimeLeaf = (leaf: number): boolean => RUNTIME_LEAVES.has(leaf)

/** The number of `TDH_SYS_INIT`, as kernels call it; also of other leaves. */
export const leafByName = (name: string): number | undefined => {
  const wanted = name.replace(/^TDH_/, '')
  const [number] =
    [...RUNTIME_LEAVES].find(
      ([, runtime]) => runtime.replaceAll('.', '_') === wanted,
    ) ?? []
  return number ?? LEAF[wanted as LeafName]
}

/** `TDH.SYS.INIT`, also of leaves the model does not play. */
export const anyLeafName = (leaf: number): string => {
  const runtime = RUNTIME_LEAVES.get(leaf)
  return runtime === undefined ? leafName(leaf) : `TDH.${runtime}`
}
