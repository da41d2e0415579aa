import type { RegisterChanges, Registers } from './debugger.ts'

/** Intel SDM volume 3, 6.3.1: the vector of #UD. */
export const INVALID_OPCODE = 6n

const CARRY = 1n
/** CF, PF, AF, ZF, SF and OF: what VMX instructions clear when they succeed. */
const VMX_FLAGS = 0x8d5n

/** VMsucceed. */
export const vmSucceed = ({ eflags }: Pick<Registers, 'eflags'>): bigint =>
  eflags & ~VMX_FLAGS

/** VMfailInvalid. */
export const vmFailInvalid = ({ eflags }: Pick<Registers, 'eflags'>): bigint =>
  vmSucceed({ eflags }) | CARRY

/**
 * IA32_VMX_BASIC: revision 4, VMCS of 1 KiB in write-back memory, INS and OUTS
 * told, true controls; bit 60: a call of the P-SEAMLDR leaves the current VMCS
 * alone (Intel SDM volume 3, A.1; asm/vmx.h, VMX_BASIC_NO_SEAMRET_INVD_VMCS).
 */
export const VMX_BASIC = 0x10da_0400_0000_0004n

/** On CPUs on which such a call clears it. */
export const VMX_BASIC_SEAMRET_INVD_VMCS = VMX_BASIC & ~(1n << 60n)

/** Which logical processors are in VMX operation. */
export class Vmx {
  readonly #on = new Set<number>()

  isOn(cpu: number): boolean {
    return this.#on.has(cpu)
  }

  /** VMXON; in VMX root operation it fails without a VMCS to say why. */
  vmxon(cpu: number, registers: Registers): RegisterChanges {
    const again = this.#on.has(cpu)
    this.#on.add(cpu)
    return { eflags: (again ? vmFailInvalid : vmSucceed)(registers) }
  }

  /** VMXOFF; undefined for #UD, outside of VMX operation. */
  vmxoff(cpu: number, registers: Registers): RegisterChanges | undefined {
    return this.#on.delete(cpu) ? { eflags: vmSucceed(registers) } : undefined
  }
}
