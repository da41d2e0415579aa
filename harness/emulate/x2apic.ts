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

/**
 * Instructions with a RIP-relative operand (ModRM: mod 00, r/m 101) that test
 * one bit of it in place. All others load the word to look at it later.
 */
const TESTS = [
  // test $0x20, mem8: names the byte itself.
  { opcode: [0xf6], modrm: 0x05, immediate: [MASK], byte: 0 },
  // test $0x200000, mem32.
  {
    opcode: [0xf7],
    modrm: 0x05,
    immediate: [0, 0, MASK, 0],
    byte: BYTE_IN_WORD,
  },
  // bt $21, mem32.
  { opcode: [0x0f, 0xba], modrm: 0x25, immediate: [21], byte: BYTE_IN_WORD },
] as const
const DISPLACEMENT = 4
const isRipRelative = (modrm: number): boolean => (modrm & 0xc7) === 0x05

/** The operand of an instruction whose ModRM byte stands at an offset. */
const operandAt = (
  code: Buffer,
  at: number,
): { readonly length: number; readonly byte: number } => {
  const rest = at + 1 + DISPLACEMENT
  const test = TESTS.find(
    ({ opcode, modrm, immediate }) =>
      code[at] === modrm &&
      opcode.every((byte, i) => code[at - opcode.length + i] === byte) &&
      immediate.every((byte, i) => code[rest + i] === byte),
  )
  return {
    length: 1 + DISPLACEMENT + (test?.immediate.length ?? 0),
    byte: test?.byte ?? BYTE_IN_WORD,
  }
}

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
  for (let at = code.length - 1 - DISPLACEMENT; at > 0; at--) {
    if (!isRipRelative(code[at]!)) continue
    const { length, byte } = operandAt(code, at)
    // The displacement counts from the end of the instruction.
    const next = start + BigInt(at + length)
    const target = next + BigInt(code.readInt32LE(at + 1))
    if (target < data.address || target >= data.address + data.size) continue
    return { address: target + BigInt(byte), mask: MASK }
  }
  return undefined
}
