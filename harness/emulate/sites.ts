import type { KernelImage } from '../kernel/elf.ts'
import type { KernelSymbol } from '../kernel/symbols.ts'

/** What the rig does in the guest's stead. */
export type SiteKind =
  | 'seamcall'
  | 'keyid-msr'
  | 'apic-base-msr'
  | 'vmx-basic-msr'
  | 'vmxon'
  | 'vmxoff'

/**
 * How a site looks. An MSR is read by an RDMSR in place, or by a call of
 * native_read_msr_safe(msr, err) where the compiler did not inline it.
 */
export type SiteForm = 'instruction' | 'rdmsr' | 'read-msr-call'

/** One instruction to stop at. */
export interface Site {
  readonly kind: SiteKind
  readonly form: SiteForm
  readonly symbol: string
  readonly address: bigint
  /** Bytes of the instruction. */
  readonly length: number
}

/** Where the sites of a kind are. */
interface Rule {
  readonly kind: SiteKind
  /** Functions that may hold it. */
  readonly symbols: readonly string[]
  /** Else functions with one of these in their names. */
  readonly elsewhere?: readonly string[]
  /** A kernel without it has no TDX host support. */
  readonly required: boolean
  readonly find: (code: Code) => Found | undefined
}

interface Found {
  readonly form: SiteForm
  readonly offset: number
  readonly length: number
}

/** The code of one function. */
interface Code {
  readonly image: KernelImage
  readonly address: bigint
  readonly bytes: Buffer
}

/** `.byte 0x66,0x0f,0x01,0xcf` (arch/x86/virt/vmx/tdx/tdxcall.S). */
const SEAMCALL = Buffer.from([0x66, 0x0f, 0x01, 0xcf])

const findSeamcall = ({ bytes }: Code): Found | undefined => {
  const offset = bytes.indexOf(SEAMCALL)
  return offset < 0
    ? undefined
    : { form: 'instruction', offset, length: SEAMCALL.length }
}

/** `vmxon disp(%rbp)` and the like: f3 0f c7 /6 with a memory operand. */
const VMXON = Buffer.from([0xf3, 0x0f, 0xc7])
const VMXON_EXTENSION = 6
const VMXOFF = Buffer.from([0x0f, 0x01, 0xc4])

/** Bytes of a ModRM byte with its SIB byte and displacement, in memory form. */
const operandLength = (bytes: Buffer, at: number): number => {
  const modrm = bytes[at] ?? 0
  const mode = modrm >> 6
  const sib = (modrm & 7) === 4 ? 1 : 0
  const base = sib ? (bytes[at + 1] ?? 0) & 7 : modrm & 7
  if (mode === 1) return 1 + sib + 1
  if (mode === 2 || (mode === 0 && base === 5)) return 1 + sib + 4
  return 1 + sib
}

const findVmxon = ({ bytes }: Code): Found | undefined => {
  const offset = bytes.indexOf(VMXON)
  const at = offset + VMXON.length
  const modrm = bytes[at] ?? 0
  if (offset < 0 || modrm >> 6 === 3 || ((modrm >> 3) & 7) !== VMXON_EXTENSION)
    return undefined
  const length = VMXON.length + operandLength(bytes, at)
  return { form: 'instruction', offset, length }
}

const findVmxoff = ({ bytes }: Code): Found | undefined => {
  const offset = bytes.indexOf(VMXOFF)
  return offset < 0
    ? undefined
    : { form: 'instruction', offset, length: VMXOFF.length }
}

/** The compiler schedules others between the MSR's number and its use. */
const MAX_GAP = 32
/** mov imm32 to ECX, for RDMSR; to EDI, for a call. */
const MOV_ECX = 0xb9
const MOV_EDI = 0xbf
const RDMSR = Buffer.from([0x0f, 0x32])
/** call rel32. */
const CALL = 0xe8
const CALL_LENGTH = 5

const findMsrRead =
  (msr: number) =>
  (code: Code): Found | undefined =>
    findRdmsr(code, msr) ?? findReadMsrCall(code, msr)

/** Bytes right behind `mov $number` to a register, within reach. */
const behindMov = (
  bytes: Buffer,
  opcode: number,
  number: number,
): { readonly start: number; readonly end: number } | undefined => {
  const mov = Buffer.from([opcode, 0, 0, 0, 0])
  mov.writeUInt32LE(number, 1)
  const at = bytes.indexOf(mov)
  if (at < 0) return undefined
  const start = at + mov.length
  return { start, end: Math.min(bytes.length, start + MAX_GAP) }
}

const findRdmsr = ({ bytes }: Code, msr: number): Found | undefined => {
  const window = behindMov(bytes, MOV_ECX, msr)
  const offset = window ? bytes.indexOf(RDMSR, window.start) : -1
  return window && offset >= 0 && offset <= window.end
    ? { form: 'rdmsr', offset, length: RDMSR.length }
    : undefined
}

const findReadMsrCall = (
  { image, address, bytes }: Code,
  msr: number,
): Found | undefined => {
  const window = behindMov(bytes, MOV_EDI, msr)
  if (!window) return undefined
  for (let at = window.start; at <= window.end; at++) {
    if (bytes[at] !== CALL || at + CALL_LENGTH > bytes.length) continue
    const target =
      address + BigInt(at + CALL_LENGTH + bytes.readInt32LE(at + 1))
    if (!/^native_read_msr_safe\b/.test(image.symbolize(target) ?? '')) continue
    return { form: 'read-msr-call', offset: at, length: CALL_LENGTH }
  }
  return undefined
}

const RULES: readonly Rule[] = [
  {
    // Three copies of TDX_MODULE_CALL since 6.8, one in the series before
    // (arch/x86/virt/vmx/tdx/seamcall.S). __seamcall_saved_ret() is for
    // TDH.VP.ENTER alone: it is left out, since breakpoints are few.
    kind: 'seamcall',
    symbols: ['__seamcall', '__seamcall_ret'],
    required: true,
    find: findSeamcall,
  },
  {
    // IA32_MKTME_KEYID_PARTITIONING, read with rdmsr_safe() in tdx_init() or
    // a function it calls (arch/x86/virt/vmx/tdx/tdx.c).
    kind: 'keyid-msr',
    symbols: ['tdx_init'],
    elsewhere: ['tdx', 'keyid'],
    required: true,
    find: findMsrRead(0x87),
  },
  {
    // IA32_APIC_BASE, which x2apic_enabled() reads (arch/x86/include/asm/apic.h)
    // in kernels that insist on it.
    kind: 'apic-base-msr',
    symbols: ['tdx_init'],
    elsewhere: ['tdx', 'keyid'],
    required: false,
    find: findMsrRead(0x1b),
  },
  {
    // check_tdx_erratum(), inlined: bit 60 of IA32_VMX_BASIC is whether the
    // current VMCS outlives a call of the P-SEAMLDR. TCG reads 0.
    kind: 'vmx-basic-msr',
    symbols: ['tdx_init', 'check_tdx_erratum'],
    required: false,
    find: findMsrRead(0x480),
  },
  {
    // __x86_vmx_init() (arch/x86/virt/hw.c): the revision of the root VMCS.
    kind: 'vmx-basic-msr',
    symbols: ['x86_virt_init', 'x86_vmx_init', '__x86_vmx_init'],
    required: false,
    find: findMsrRead(0x480),
  },
  {
    // x86_virt_cpu_vmxon() (arch/x86/virt/hw.c), inlined. TCG has no VMX, and
    // QEMU 10.0 does not even raise #UD.
    kind: 'vmxon',
    symbols: ['x86_vmx_enable_virtualization_cpu', 'x86_virt_cpu_vmxon'],
    required: false,
    find: findVmxon,
  },
  {
    // Reached by every CPU that goes offline, that fails, and at power-off.
    kind: 'vmxoff',
    symbols: ['x86_vmx_disable_virtualization_cpu'],
    required: false,
    find: findVmxoff,
  },
]

/** Functions without a size in the symbol table are searched this far. */
const SEARCH_LIMIT = 4096
/** No function is longer, whatever a forged symbol says. */
const LONGEST_FUNCTION = 64 * 1024
/** A kernel has some hundred functions whose names are like that. */
const MAX_ALIKE = 10_000

/** What was found, and what a kernel must have and this one has not. */
export interface SiteSearch {
  readonly sites: readonly Site[]
  readonly missing: readonly string[]
}

/** Finds every interposed instruction by symbol and bytes. */
export const searchSites = async (image: KernelImage): Promise<SiteSearch> => {
  const sites: Site[] = []
  const missing: string[] = []
  for (const rule of RULES) {
    const found = await sitesOf(image, rule)
    if (found.length === 0 && rule.required)
      missing.push(`${DESCRIPTION[rule.kind]} in ${rule.symbols.join(' or ')}`)
    sites.push(...found)
  }
  return { sites, missing }
}

const DESCRIPTION: Readonly<Record<SiteKind, string>> = {
  seamcall: 'the instruction SEAMCALL (66 0f 01 cf)',
  'keyid-msr': 'the read of MSR 0x87',
  'apic-base-msr': 'the read of IA32_APIC_BASE',
  'vmx-basic-msr': 'the read of IA32_VMX_BASIC',
  vmxon: 'the instruction VMXON',
  vmxoff: 'the instruction VMXOFF',
}

const sitesOf = async (image: KernelImage, rule: Rule): Promise<Site[]> => {
  const named = rule.symbols.flatMap(name => image.symbol(name) ?? [])
  const found = await among(image, rule, named)
  if (found.length > 0 || !rule.elsewhere) return found
  const others = rule.elsewhere
    .flatMap(part => image.symbolsLike(part))
    .slice(0, MAX_ALIKE)
  return (await among(image, rule, others)).slice(0, 1)
}

const among = async (
  image: KernelImage,
  rule: Rule,
  symbols: readonly KernelSymbol[],
): Promise<Site[]> => {
  const sites: Site[] = []
  for (const { name, address, size } of symbols) {
    const bytes = Buffer.from(
      await image.bytesAt(
        address,
        Math.min(Number(size) || SEARCH_LIMIT, LONGEST_FUNCTION),
      ),
    )
    const found = rule.find({ image, address, bytes })
    if (!found) continue
    sites.push({
      kind: rule.kind,
      form: found.form,
      symbol: name,
      address: address + BigInt(found.offset),
      length: found.length,
    })
  }
  return sites
}
