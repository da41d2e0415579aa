import type { KernelImage } from '../kernel/elf.ts'
import type { KernelSymbol } from '../kernel/symbols.ts'
import type { Allocator } from '../scenario/case.ts'

/** How memory is counted that an allocator gives. */
export const ALLOCATION_KINDS = [
  /** kmalloc(): bytes. */
  'object',
  /** alloc_pages_exact(): whole pages. */
  'pages',
  /** alloc_contig_pages(): what PAMTs are made of. */
  'contiguous pages',
  /** The page of a CPU that VMXON is given. */
  'VMXON region',
] as const
export type AllocationKind = (typeof ALLOCATION_KINDS)[number]

/** A call of an allocator, or of what gives memory back. */
export interface AllocationSite {
  readonly does: 'allocate' | 'free'
  readonly kind: AllocationKind
  /** Function that has the call. */
  readonly symbol: string
  readonly address: bigint
  /** The function that is called. */
  readonly target: bigint
  readonly callee: string
  /** A jump: the function ends with this call. */
  readonly tail: boolean
  /** Where the size is, in the unit of {@link unit}. */
  readonly size: 'rdi' | 'rsi' | 'rdx' | 'none'
  /** Bytes of a unit of the size; without a size there is one. */
  readonly unit: 1 | 4096
}

interface Callee {
  readonly name: RegExp
  readonly does: AllocationSite['does']
  readonly kind: AllocationKind
  readonly size: AllocationSite['size']
  readonly unit: AllocationSite['unit']
}

/**
 * What TDX host support allocates with; names have had `_noprof` behind them
 * since 6.10 (include/linux/slab.h, gfp.h).
 */
const TDX_CALLEES: readonly Callee[] = [
  {
    // kmalloc() of a size known when it is compiled: cache, flags, size.
    name: /^(?:__kmalloc_cache|kmalloc_trace)(?:_noprof)?$/,
    does: 'allocate',
    kind: 'object',
    size: 'rdx',
    unit: 1,
  },
  {
    name: /^__kmalloc(?:_node|_large)?(?:_noprof)?$/,
    does: 'allocate',
    kind: 'object',
    size: 'rdi',
    unit: 1,
  },
  {
    name: /^alloc_pages_exact(?:_noprof)?$/,
    does: 'allocate',
    kind: 'pages',
    size: 'rdi',
    unit: 1,
  },
  {
    name: /^alloc_contig_pages(?:_noprof)?$/,
    does: 'allocate',
    kind: 'contiguous pages',
    size: 'rdi',
    unit: 4096,
  },
  {
    name: /^kfree$/,
    does: 'free',
    kind: 'object',
    size: 'none',
    unit: 1,
  },
  {
    name: /^free_pages_exact$/,
    does: 'free',
    kind: 'pages',
    size: 'rsi',
    unit: 1,
  },
  {
    name: /^free_contig_range(?:_noprof)?$/,
    does: 'free',
    kind: 'contiguous pages',
    size: 'rsi',
    unit: 4096,
  },
]

/**
 * __x86_vmx_init() and x86_vmx_exit() (arch/x86/virt/hw.c), since 7.1; which
 * function allocates a page depends on the inline functions of gfp.h.
 */
const VMX_CALLEES: readonly Callee[] = [
  {
    name: /^(?:alloc_pages_node|__alloc_pages(?:_node)?)(?:_noprof)?$/,
    does: 'allocate',
    kind: 'VMXON region',
    size: 'none',
    unit: 4096,
  },
  {
    name: /^free_pages$/,
    does: 'free',
    kind: 'VMXON region',
    size: 'none',
    unit: 4096,
  },
]

/** Where an allocator's calls are, and what they call. */
interface Followed {
  /** Parts of the names of functions, of all series. */
  readonly holders: readonly string[]
  readonly callees: readonly Callee[]
}

const FOLLOWED: Readonly<Record<Allocator, Followed>> = {
  TDX: { holders: ['tdx', 'tdmr', 'pamt'], callees: TDX_CALLEES },
  VMX: { holders: ['x86_virt_init', 'x86_vmx_'], callees: VMX_CALLEES },
}

/** Data may be called so too; code ends before it. */
const LONGEST_FUNCTION = 16 * 1024

const CALL = 0xe8
const JUMP = 0xe9
/** Of both, with their relative address. */
export const CALL_LENGTH = 5

/** Every call of an allocator in the TDX or VMX host support of a kernel. */
export const findAllocationSites = async (
  image: KernelImage,
  allocator: Allocator,
): Promise<AllocationSite[]> => {
  const { holders, callees: rows } = FOLLOWED[allocator]
  const callees = calleesOf(image, rows)
  const sites = new Map<bigint, AllocationSite>()
  for (const holder of holders.flatMap(part => image.symbolsLike(part)))
    for (const site of await sitesIn(image, holder, callees))
      sites.set(site.address, site)
  return [...sites.values()].sort((a, b) => (a.address < b.address ? -1 : 1))
}

const calleesOf = (
  image: KernelImage,
  rows: readonly Callee[],
): ReadonlyMap<bigint, { readonly callee: Callee; readonly name: string }> => {
  const found = new Map<bigint, { callee: Callee; name: string }>()
  for (const part of ['kmalloc', 'kfree', 'pages', 'free_contig_range'])
    for (const { name, address } of image.symbolsLike(part)) {
      const callee = rows.find(row => row.name.test(name))
      if (callee) found.set(address, { callee, name })
    }
  return found
}

const sitesIn = async (
  image: KernelImage,
  { name: symbol, address, size }: KernelSymbol,
  callees: ReturnType<typeof calleesOf>,
): Promise<AllocationSite[]> => {
  const length = Number(size)
  if (length < CALL_LENGTH || length > LONGEST_FUNCTION) return []
  const code = Buffer.from(await image.bytesAt(address, length))
  const sites: AllocationSite[] = []
  for (let at = 0; at + CALL_LENGTH <= code.length; at++) {
    if (code[at] !== CALL && code[at] !== JUMP) continue
    const next = address + BigInt(at + CALL_LENGTH)
    const target = next + BigInt(code.readInt32LE(at + 1))
    const found = callees.get(target)
    if (!found) continue
    const { does, kind, size: where, unit } = found.callee
    sites.push({
      does,
      kind,
      symbol,
      address: address + BigInt(at),
      target,
      callee: found.name,
      tail: code[at] === JUMP,
      size: where,
      unit,
    })
  }
  return sites
}
