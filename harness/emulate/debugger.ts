/** Registers the rig reads or writes, as gdb numbers them. */
export const REGISTERS = [
  'rax',
  'rbx',
  'rcx',
  'rdx',
  'rsi',
  'rdi',
  'rbp',
  'rsp',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
  'rip',
  'eflags',
] as const
export type RegisterName = (typeof REGISTERS)[number]
export type Registers = Readonly<Record<RegisterName, bigint>>
export type RegisterChanges = Readonly<Partial<Record<RegisterName, bigint>>>

/** A vCPU that stopped, and why. */
export interface Stop {
  /** Index of the vCPU, from 0. */
  readonly cpu: number
  /** `break` at a breakpoint, `interrupt` when we asked for it. */
  readonly reason: 'break' | 'interrupt'
}

/**
 * A guest under control, as the emulation needs it. While it is stopped all
 * its vCPUs are; the machine layer implements this on QEMU's gdbstub.
 */
export interface Debugger {
  /** Stops whichever vCPU executes the instruction at a virtual address. */
  plant(address: bigint): Promise<void>
  remove(address: bigint): Promise<void>
  /** Stops whichever vCPU writes a byte, behind the instruction that does. */
  watch(address: bigint): Promise<void>
  unwatch(address: bigint): Promise<void>
  /** Lets all vCPUs run. @returns the next stop, or null when it is gone */
  resume(): Promise<Stop | null>
  /** Asks a running guest to stop; the pending resume() returns. */
  interrupt(): void
  readonly cpus: number
  registers(cpu: number): Promise<Registers>
  /** Writes the named registers and leaves all others alone. */
  setRegisters(cpu: number, changes: RegisterChanges): Promise<void>
  /** Reads through the page tables of a vCPU. */
  readVirtual(cpu: number, address: bigint, length: number): Promise<Uint8Array>
  writeVirtual(cpu: number, address: bigint, bytes: Uint8Array): Promise<void>
  readPhysical(address: number, length: number): Promise<Uint8Array>
  writePhysical(address: number, bytes: Uint8Array): Promise<void>
}
