import type { RegisterName } from './debugger.ts'

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
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
]
