import { UsageError } from '../base/errors.ts'
import type { KernelImage } from '../kernel/elf.ts'

/** Instructions the rig executes in the guest's stead. */
export type InstructionKind = 'seamcall' | 'keyid-msr'

/** Where such an instruction is found in a kernel image. */
interface Rule {
  readonly kind: InstructionKind
  /** Functions that may hold it; each that exists must. */
  readonly symbols: readonly string[]
  /** What comes shortly before it: the compiler schedules others between. */
  readonly after: readonly number[]
  readonly bytes: readonly number[]
}

const RULES: readonly Rule[] = [
  {
    // .byte 0x66,0x0f,0x01,0xcf: three copies of TDX_MODULE_CALL since 6.8,
    // one in the series before (arch/x86/virt/vmx/tdx/seamcall.S).
    kind: 'seamcall',
    symbols: ['__seamcall', '__seamcall_ret', '__seamcall_saved_ret'],
    after: [],
    bytes: [0x66, 0x0f, 0x01, 0xcf],
  },
  {
    // mov $0x87,%ecx ... rdmsr: IA32_MKTME_KEYID_PARTITIONING, read through
    // rdmsr_safe() in tdx_init() (arch/x86/virt/vmx/tdx/tdx.c).
    kind: 'keyid-msr',
    symbols: ['tdx_init'],
    after: [0xb9, 0x87, 0x00, 0x00, 0x00],
    bytes: [0x0f, 0x32],
  },
]

/** One instruction to stop at. */
export interface Site {
  readonly kind: InstructionKind
  readonly symbol: string
  readonly address: bigint
  /** Bytes of the instruction. */
  readonly length: number
}

/** Functions without a size in the symbol table are searched this far. */
const SEARCH_LIMIT = 4096

/**
 * Finds every interposed instruction by symbol and bytes.
 *
 * @throws UsageError when the kernel has no TDX host support
 */
export const findSites = async (image: KernelImage): Promise<Site[]> => {
  const sites: Site[] = []
  for (const rule of RULES) {
    const found = await sitesOf(image, rule)
    if (found.length === 0) throw missing(image, rule)
    sites.push(...found)
  }
  return sites
}

const sitesOf = async (image: KernelImage, rule: Rule): Promise<Site[]> => {
  const sites: Site[] = []
  for (const name of rule.symbols) {
    const symbol = image.symbol(name)
    if (!symbol) continue
    const size = Number(symbol.size) || SEARCH_LIMIT
    const code = Buffer.from(await image.bytesAt(symbol.address, size))
    const at = findInstruction(code, rule)
    if (at === undefined) continue
    sites.push({
      kind: rule.kind,
      symbol: name,
      address: symbol.address + BigInt(at),
      length: rule.bytes.length,
    })
  }
  return sites
}

/** Bytes between what comes before an instruction and the instruction. */
const MAX_GAP = 32

/** Offset of the instruction in the code of a function. */
const findInstruction = (code: Buffer, rule: Rule): number | undefined => {
  const before = code.indexOf(Buffer.from(rule.after))
  if (before < 0) return undefined
  const from = before + rule.after.length
  const at = code.indexOf(Buffer.from(rule.bytes), from)
  const near = rule.after.length === 0 || at - from <= MAX_GAP
  return at >= 0 && near ? at : undefined
}

const missing = (image: KernelImage, rule: Rule): UsageError => {
  const bytes = [rule.after, rule.bytes]
    .filter(part => part.length > 0)
    .map(part => Buffer.from(part).toString('hex'))
    .join(' ... ')
  return new UsageError(
    'NO_TDX_HOST',
    `expected the bytes ${bytes} in ${rule.symbols.join(' or ')} of ` +
      `${image.path}, found none: build this kernel with CONFIG_INTEL_TDX_HOST=y`,
  )
}
