import { parseCmdline } from '../memory/cmdline.ts'

/** A CPU feature that a kernel asks for before it initialises TDX. */
interface CpuFeature {
  /** As /proc/cpuinfo and clearcpuid= spell it. */
  readonly flag: string
  /** Word times 32 plus bit (arch/x86/include/asm/cpufeatures.h). */
  readonly number: number
  /** Another parameter that clears it. */
  readonly parameter?: string
}

/** In the order in which tdx_enable() asks (arch/x86/virt/vmx/tdx/tdx.c). */
const NEEDED: readonly CpuFeature[] = [
  { flag: 'xsave', number: 4 * 32 + 26, parameter: 'noxsave' },
  { flag: 'movdir64b', number: 16 * 32 + 28 },
  { flag: 'ss', number: 27 },
]
const VMX: CpuFeature = { flag: 'vmx', number: 4 * 32 + 5 }

/**
 * The first feature TDX needs that the command line takes away
 * (cpu_parse_early_param(), arch/x86/kernel/cpu/common.c).
 */
export const clearedFeature = (words: readonly string[]): string | undefined =>
  NEEDED.find(feature => isCleared(feature, words))?.flag

export const clearsVmx = (words: readonly string[]): boolean =>
  isCleared(VMX, words)

const isCleared = (
  { flag, number, parameter }: CpuFeature,
  words: readonly string[],
): boolean =>
  parseCmdline(words.join(' ')).some(
    ({ name, value = '' }) =>
      name === parameter ||
      (name === 'clearcpuid' &&
        value
          .split(',')
          .some(given => given === flag || given === String(number))),
  )
