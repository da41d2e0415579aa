import type { KernelImage } from '../kernel/elf.ts'
import { findMovdir64b as movdir64bIn, placesOf } from './movdir64b.ts'
import { RESET_HOLDERS } from './page-resets.ts'

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

const findMovdir64b = (code: Buffer): (readonly [number, Uint8Array])[] =>
  movdir64bIn(code).map(
    ({ offset, length }) => [offset, Buffer.alloc(length, NOP)] as const,
  )

/** mov $X86_CR4_VMXE, %edi: the argument of cr4_update_irqsoff(). */
const SET_VMXE = Buffer.from([0xbf, 0x00, 0x20, 0x00, 0x00])
const SET_NOTHING = Buffer.from([0xbf, 0x00, 0x00, 0x00, 0x00])

const RULES: readonly PatchRule[] = [
  {
    // After a failure behind TDH.SYS.CONFIG the kernel converts PAMTs back to
    // normal memory with MOVDIR64B, which TCG does not have. In the model they
    // never became private. It runs once for each 64 bytes, too often to stop
    // at; who wants to know stands in front of the loop (page-resets.ts).
    holders: RESET_HOLDERS,
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
