import type { KernelImage } from '../kernel/elf.ts'
import type { Site } from './sites.ts'

/**
 * TCG has no x2APIC before QEMU 9, and kernels of the v6 series give TDX up
 * without it. They ask x2apic_enabled(): a bit of boot_cpu_data and then
 * IA32_APIC_BASE. The rig answers both for this one question, and nothing else
 * in the kernel ever believes in an x2APIC.
 */

/** One byte in the kernel's memory, and the bit that says x2APIC. */
export interface FeatureBit {
  readonly address: bigint
  readonly mask: number
}

/** X86_FEATURE_X2APIC: word 4, bit 21 (arch/x86/include/asm/cpufeatures.h). */
const BYTE_IN_WORD = 2
const MASK = 1 << 5

/** IA32_APIC_BASE: base address, BSP, enabled; EXTD is x2APIC. */
const APIC_BASE = 0xfee00900n
const X2APIC_ENABLE = 1n << 10n

export const apicBase = (x2apic: boolean): bigint =>
  x2apic ? APIC_BASE | X2APIC_ENABLE : APIC_BASE

/** test $imm8, mem8 names the byte; all other forms load the whole word. */
const TEST_BYTE = 0xf6
/** ModRM of a RIP-relative operand: mod 00, r/m 101. */
const isRipRelative = (modrm: number): boolean => (modrm & 0xc7) === 0x05
/** Before the code for IA32_APIC_BASE the bit is tested, this far at most. */
const SEARCH = 64

/**
 * Where x2apic_enabled() looks for the feature bit: the last operand in
 * boot_cpu_data before it reads the MSR.
 */
export const findFeatureBit = async (
  image: KernelImage,
  sites: readonly Site[],
): Promise<FeatureBit | undefined> => {
  const site = sites.find(({ kind }) => kind === 'apic-base-msr')
  const data = image.symbol('boot_cpu_data')
  if (!site || !data) return undefined
  const start = site.address - BigInt(SEARCH)
  const code = Buffer.from(await image.bytesAt(start, SEARCH))
  for (let at = code.length - 5; at > 0; at--) {
    if (!isRipRelative(code[at]!)) continue
    const isByte = code[at - 1] === TEST_BYTE
    // The displacement counts from the end of the instruction.
    const next = start + BigInt(at + 5 + (isByte ? 1 : 0))
    const target = next + BigInt(code.readInt32LE(at + 1))
    if (target < data.address || target >= data.address + data.size) continue
    return isByte
      ? { address: target, mask: MASK }
      : { address: target + BigInt(BYTE_IN_WORD), mask: MASK }
  }
  return undefined
}
