import type { KernelImage } from '../kernel/elf.ts'
import type { RegisterName } from './debugger.ts'
import { GENERAL_REGISTERS } from './registers.ts'
import type { Site } from './sites.ts'

/**
 * Where the kernel goes on when an instruction faults that may: its exception
 * table (struct exception_table_entry, arch/x86/include/asm/extable.h).
 */
export interface Fixup {
  readonly address: bigint
  /** EX_TYPE_FAULT: RAX is to hold the number of the trap. */
  readonly wantsTrap: boolean
  /** EX_TYPE_RDMSR_SAFE: the register that is to hold -EIO (EX_DATA_REG). */
  readonly errorIn: RegisterName | undefined
}

/** Bytes of an entry: where, where to, and how, each relative to itself. */
const ENTRY = 12
const INSTRUCTION = 0
const TARGET = 4
const DATA = 8

/** arch/x86/include/asm/extable_fixup_types.h */
const EX_TYPE_DEFAULT = 1
const EX_TYPE_FAULT = 2
const EX_TYPE_RDMSR_SAFE = 11
const TYPES = [EX_TYPE_DEFAULT, EX_TYPE_FAULT, EX_TYPE_RDMSR_SAFE]

/** Fixups of the sites that have one, by the address of the instruction. */
export const findFixups = async (
  image: KernelImage,
  sites: readonly Site[],
): Promise<ReadonlyMap<bigint, Fixup>> => {
  const fixups = new Map<bigint, Fixup>()
  const start = image.symbol('__start___ex_table')?.address
  const stop = image.symbol('__stop___ex_table')?.address
  if (start === undefined || stop === undefined || sites.length === 0)
    return fixups
  const wanted = new Set(sites.map(({ address }) => address))
  const table = Buffer.from(await image.bytesAt(start, Number(stop - start)))
  for (let at = 0; at + ENTRY <= table.length; at += ENTRY) {
    const relative = (offset: number): bigint =>
      start + BigInt(at + offset + table.readInt32LE(at + offset))
    const type = table[at + DATA]!
    if (!TYPES.includes(type)) continue
    const address = relative(INSTRUCTION)
    if (wanted.has(address))
      fixups.set(address, {
        address: relative(TARGET),
        wantsTrap: type === EX_TYPE_FAULT,
        errorIn:
          type === EX_TYPE_RDMSR_SAFE
            ? GENERAL_REGISTERS[table[at + DATA + 1]! & 0xf]
            : undefined,
      })
  }
  return fixups
}
