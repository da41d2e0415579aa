import type { KernelImage } from '../kernel/elf.ts'

/** Bytes to put into the kernel before it starts. */
export interface Patch {
  /** Virtual address. */
  readonly address: bigint
  /** Where that lies in memory, unless a boot loader put the kernel elsewhere. */
  readonly physical: number
  readonly bytes: Uint8Array
}

/** Code that is changed because the emulated CPU cannot execute it. */
interface PatchRule {
  /** Functions that may hold it, depending on what the compiler inlined. */
  readonly holders: readonly string[]
  /** What each place becomes, by its offset. */
  readonly find: (code: Buffer) => (readonly [number, Uint8Array])[]
}

const NOP = 0x90

/** 66 [REX] 0f 38 f8 /r with a register as address: 5 or 6 bytes. */
const MOVDIR64B = Buffer.from([0x0f, 0x38, 0xf8])
const OPERAND_SIZE = 0x66

const findMovdir64b = (code: Buffer): (readonly [number, Uint8Array])[] =>
  placesOf(code, MOVDIR64B).flatMap(at => {
    const rex = (code[at - 1]! & 0xf0) === 0x40 ? 1 : 0
    const start = at - 1 - rex
    const length = rex + 1 + MOVDIR64B.length + 1
    return code[start] === OPERAND_SIZE
      ? [[start, Buffer.alloc(length, NOP)] as const]
      : []
  })

/** mov $X86_CR4_VMXE, %edi: the argument of cr4_update_irqsoff(). */
const SET_VMXE = Buffer.from([0xbf, 0x00, 0x20, 0x00, 0x00])
const SET_NOTHING = Buffer.from([0xbf, 0x00, 0x00, 0x00, 0x00])

const RULES: readonly PatchRule[] = [
  {
    // reset_tdx_pages() (arch/x86/virt/vmx/tdx/tdx.c): after a failure behind
    // TDH.SYS.CONFIG the kernel converts PAMTs back to normal memory with
    // MOVDIR64B, which TCG does not have. In the model they never became
    // private, so there is nothing to convert. It runs once for each 64 bytes,
    // too often to stop at.
    holders: [
      'reset_tdx_pages',
      'tdx_quirk_reset_paddr',
      'tdmr_reset_pamt',
      'tdmrs_reset_pamt_all',
      'init_tdx_module',
      '__tdx_enable',
      'tdx_enable',
    ],
    find: findMovdir64b,
  },
  {
    // x86_virt_cpu_vmxon() (arch/x86/virt/hw.c) sets CR4.VMXE, a bit that TCG
    // refuses. VMXON and VMXOFF are interposed, and nothing else needs it.
    holders: ['x86_vmx_enable_virtualization_cpu', 'x86_virt_cpu_vmxon'],
    find: code =>
      placesOf(code, SET_VMXE).map(at => [at, SET_NOTHING] as const),
  },
]

const placesOf = (code: Buffer, bytes: Buffer): number[] => {
  const places: number[] = []
  for (let at = code.indexOf(bytes); at >= 0; at = code.indexOf(bytes, at + 1))
    places.push(at)
  return places
}

/** Everything that must be changed in an image. */
export const findPatches = async (image: KernelImage): Promise<Patch[]> => {
  const patches: Patch[] = []
  for (const { holders, find } of RULES)
    for (const symbol of holders.flatMap(name => image.symbol(name) ?? [])) {
      const { address, size } = symbol
      const code = Buffer.from(await image.bytesAt(address, Number(size)))
      for (const [offset, bytes] of find(code))
        patches.push({
          address: address + BigInt(offset),
          physical: image.physicalAddress(address + BigInt(offset)),
          bytes,
        })
    }
  return patches
}
