/** A CPU that comes with TDX, as CPUID tells it. */
export interface CpuModel {
  readonly family: number
  readonly model: number
  readonly stepping: number
}

/** Intel family 6 (arch/x86/include/asm/intel-family.h). */
export const CPU_MODELS = {
  'sapphire-rapids': { family: 6, model: 143, stepping: 8 },
  'emerald-rapids': { family: 6, model: 207, stepping: 2 },
  'granite-rapids': { family: 6, model: 173, stepping: 1 },
} as const satisfies Readonly<Record<string, CpuModel>>

export type CpuModelName = keyof typeof CPU_MODELS

export const CPU_MODEL_NAMES = Object.keys(CPU_MODELS) as [CpuModelName]
