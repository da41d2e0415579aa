/** A distance as instructions have it, from the end of the instruction. */
const relative = (from: bigint, to: bigint): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(Number(to - from))
  return bytes
}

/** Bytes of a jump to anywhere in the kernel. */
export const JUMP_LENGTH = 5

/** `jmp rel32`. */
export const jump = (from: bigint, to: bigint): Buffer =>
  assemble(from, [[[0xe9], to]])

/**
 * One instruction: its bytes, the place that they end with as a distance, if
 * any, and bytes behind that.
 */
export type Instruction = readonly [
  bytes: readonly number[],
  target?: bigint,
  immediate?: readonly number[],
]

/** @param start address of the first instruction */
export const assemble = (
  start: bigint,
  instructions: readonly Instruction[],
): Buffer => {
  const pieces: Buffer[] = []
  let at = start
  for (const [bytes, target, immediate = []] of instructions) {
    const opcode = Buffer.from(bytes)
    const distance = target === undefined ? 0 : 4
    const next = at + BigInt(opcode.length + distance + immediate.length)
    pieces.push(opcode)
    if (target !== undefined) pieces.push(relative(next, target))
    pieces.push(Buffer.from(immediate))
    at = next
  }
  return Buffer.concat(pieces)
}
