/** A CPU that comes with TDX, as CPUID tells it. */
export interface CpuModel {
  readonly family: number
  readonly model: number
  readonly stepping: number
  /**
   * A partial write to TDX private memory poisons it (check_tdx_erratum(),
   * X86_BUG_TDX_PW_MCE).
   */
  readonly partialWritesPoison: boolean
}

/** Intel family 6 (arch/x86/include/asm/intel-family.h). */
export const CPU_MODELS = {
  'sapphire-rapids': {
    family: 6,
    model: 143,
    stepping: 8,
    partialWritesPoison: true,
  },
  'emerald-rapids': {
    family: 6,
    model: 207,
    stepping: 2,
    partialWritesPoison: true,
  },
  'granite-rapids': {
    family: 6,
    model: 173,
    stepping: 1,
    partialWritesPoison: false,
  },
} as const satisfies Readonly<Record<string, CpuModel>>

export type CpuModelName = keyof typeof CPU_MODELS

export const CPU_MODEL_NAMES = Object.keys(CPU_MODELS) as [CpuModelName]
