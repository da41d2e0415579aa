import type { KernelImage } from '../kernel/elf.ts'

/** Bytes to put into guest-physical memory before the kernel starts. */
export interface Patch {
  readonly address: number
  readonly bytes: Uint8Array
}

/**
 * Functions that may hold the MOVDIR64B of reset_tdx_pages(), depending on
 * what the compiler inlined (arch/x86/virt/vmx/tdx/tdx.c).
 */
const HOLDERS = [
  'reset_tdx_pages',
  'tdmr_reset_pamt',
  'tdmrs_reset_pamt_all',
  'init_tdx_module',
  '__tdx_enable',
  'tdx_enable',
]

/** 66 [REX] 0f 38 f8 /r with a register as address: 5 or 6 bytes. */
const OPCODE = Buffer.from([0x0f, 0x38, 0xf8])
const OPERAND_SIZE = 0x66
const NOP = 0x90

/**
 * After a failure behind TDH.SYS.CONFIG the kernel converts PAMTs back to
 * normal memory with MOVDIR64B, which TCG does not have. In the model they
 * never became private, so there is nothing to convert: the instruction is
 * replaced by NOPs. It runs once for each 64 bytes, too often to stop at.
 */
export const findPatches = async (image: KernelImage): Promise<Patch[]> => {
  const patches: Patch[] = []
  for (const name of HOLDERS) {
    const symbol = image.symbol(name)
    if (!symbol) continue
    const code = Buffer.from(
      await image.bytesAt(symbol.address, Number(symbol.size)),
    )
    for (
      let at = code.indexOf(OPCODE);
      at >= 0;
      at = code.indexOf(OPCODE, at + 1)
    ) {
      const rex = (code[at - 1]! & 0xf0) === 0x40 ? 1 : 0
      const start = at - 1 - rex
      if (code[start] !== OPERAND_SIZE) continue
      const length = rex + 1 + OPCODE.length + 1
      patches.push({
        address: image.physicalAddress(symbol.address + BigInt(start)),
        bytes: Buffer.alloc(length, NOP),
      })
    }
  }
  return patches
}
