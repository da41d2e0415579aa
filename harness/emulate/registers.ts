import { REGISTERS, type RegisterName } from './debugger.ts'

/** General registers as instructions number them (SDM volume 2, table 2-2). */
export const GENERAL_REGISTERS: readonly RegisterName[] = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  ...REGISTERS.slice(8, 16),
]
