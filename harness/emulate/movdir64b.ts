import type { RegisterName } from './debugger.ts'
import { GENERAL_REGISTERS } from './registers.ts'

/** One MOVDIR64B in the code of a function. */
export interface Movdir64b {
  readonly offset: number
  /** Bytes of the instruction. */
  readonly length: number
  /** Holds where 64 bytes are written to. */
  readonly destination: RegisterName
}

/** 66 [REX] 0f 38 f8 /r with a register as address: 5 or 6 bytes. */
const OPCODE = Buffer.from([0x0f, 0x38, 0xf8])
const OPERAND_SIZE = 0x66
/** Bit of REX that makes the destination one of R8 to R15. */
const REX_R = 4

/** Offsets of a sequence of bytes. */
export const placesOf = (code: Buffer, bytes: Buffer): number[] => {
  const places: number[] = []
  for (let at = code.indexOf(bytes); at >= 0; at = code.indexOf(bytes, at + 1))
    places.push(at)
  return places
}

export const findMovdir64b = (code: Buffer): Movdir64b[] =>
  placesOf(code, OPCODE).flatMap(at => {
    const before = code[at - 1]!
    const rex = (before & 0xf0) === 0x40 ? 1 : 0
    const offset = at - 1 - rex
    if (code[offset] !== OPERAND_SIZE) return []
    const modrm = code[at + OPCODE.length]!
    const high = rex === 1 && (before & REX_R) !== 0 ? 8 : 0
    return [
      {
        offset,
        length: rex + 1 + OPCODE.length + 1,
        destination: GENERAL_REGISTERS[high + ((modrm >> 3) & 7)]!,
      },
    ]
  })
