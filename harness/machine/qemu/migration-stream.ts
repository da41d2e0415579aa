import { InfraError } from '../../base/errors.ts'

/**
 * The stream in which QEMU migrates a guest (migration/savevm.c and ram.c of
 * QEMU 7.2 to 11), as far as snapshots change it: numbers are big-endian.
 */

/** A page of a piece of memory; no content: it is zero. */
export interface Page {
  /** Of the piece, as QEMU names it. */
  readonly block: string
  /** From the start of the piece, in bytes. */
  readonly offset: number
  readonly content: Buffer | undefined
}

/** Bytes of a page of x86. */
export const PAGE_SIZE = 4096

/** In the stream: the length of a section's name, and the name. */
const STATE_SECTION = Buffer.from('\x0bglobalstate')
/** Instance and version of a section, each four bytes. */
const SECTION_HEADER = 8
const DEBUG = Buffer.from('\0\0\0\x06debug\0\0')
const PAUSED = Buffer.from('\0\0\0\x07paused\0')

/**
 * The same state of a guest that was not stopped by a debugger: QEMU cannot
 * load one that was (runstate_transitions_def, softmmu/runstate.c, has no way
 * from inmigrate to debug). Its name has a length before it, and 100 bytes
 * (vmstate_globalstate, migration/global_state.c).
 *
 * @throws InfraError when the stream is of another form
 */
export const paused = (stream: Buffer): Buffer => {
  const section = stream.indexOf(STATE_SECTION)
  const at = section + STATE_SECTION.length + SECTION_HEADER
  if (section < 0 || !stream.subarray(at, at + DEBUG.length).equals(DEBUG))
    throw unknownForm('that a debugger has stopped the guest')
  const changed = Buffer.from(stream)
  PAUSED.copy(changed, at)
  return changed
}

/** QEMU_VM_SECTION_* (migration/savevm.h). */
const SECTION = { start: 0x01, part: 0x02, footer: 0x7e } as const
const RAM = Buffer.from('\x03ram')
/** RAM_SAVE_FLAG_* (migration/ram.c), in the low bits of an offset. */
const FLAG = {
  zero: 0x02n,
  size: 0x04n,
  page: 0x08n,
  end: 0x10n,
  same: 0x20n,
} as const
const FLAGS = 0xfffn

/**
 * The same stream with pages in it: whoever loads it has them where they differ
 * from what was there. They are sent as a part of the memory's section, behind
 * its beginning.
 *
 * @param pages of one block after the other
 * @throws InfraError when the stream is of another form, or has no such block
 */
export const withPages = (stream: Buffer, pages: readonly Page[]): Buffer => {
  const { id, end, blocks } = findRam(stream)
  const pieces: Buffer[] = [number(1, SECTION.part), id]
  let last: string | undefined
  for (const { block, offset, content } of pages) {
    if (!blocks.has(block)) throw unknownForm(`memory named '${block}'`)
    const flags =
      (content ? FLAG.page : FLAG.zero) | (block === last ? FLAG.same : 0n)
    pieces.push(number(8, BigInt(offset) | flags))
    if (block !== last) pieces.push(number(1, block.length), ascii(block))
    pieces.push(content ?? Buffer.alloc(1))
    last = block
  }
  pieces.push(number(8, FLAG.end), number(1, SECTION.footer), id)
  return Buffer.concat([
    stream.subarray(0, end),
    ...pieces,
    stream.subarray(end),
  ])
}

interface Ram {
  /** Of the section, four bytes. */
  readonly id: Buffer
  /** Behind the footer of its beginning. */
  readonly end: number
  readonly blocks: ReadonlySet<string>
}

/** Reads the beginning of the memory's section (ram_save_setup()). */
const findRam = (stream: Buffer): Ram => {
  const name = stream.indexOf(RAM)
  const id = stream.subarray(name - 4, name)
  if (name < 5 || stream[name - 5] !== SECTION.start)
    throw unknownForm('where its memory begins')
  let at = name + RAM.length + SECTION_HEADER
  const take = (length: number): Buffer => {
    at += length
    if (at > stream.length) throw unknownForm('all of its memory')
    return stream.subarray(at - length, at)
  }
  const header = take(8).readBigUInt64BE()
  if ((header & FLAGS) !== FLAG.size)
    throw unknownForm('how much memory it has')
  let left = header & ~FLAGS
  const blocks = new Set<string>()
  while (left > 0n) {
    blocks.add(take(take(1)[0]!).toString('latin1'))
    left -= take(8).readBigUInt64BE()
    // Its address: memory that is shared is left out (x-ignore-shared).
    take(8)
  }
  const isOver = left === 0n && take(8).readBigUInt64BE() === FLAG.end
  if (!isOver || take(1)[0] !== SECTION.footer || !take(4).equals(id))
    throw unknownForm('where the list of its memory ends')
  return { id, end: at, blocks }
}

const number = (bytes: 1 | 8, value: number | bigint): Buffer => {
  const buffer = Buffer.alloc(bytes)
  if (bytes === 1) buffer.writeUInt8(Number(value))
  else buffer.writeBigUInt64BE(BigInt(value))
  return buffer
}

const ascii = (text: string): Buffer => Buffer.from(text, 'latin1')

const unknownForm = (what: string): InfraError =>
  new InfraError(
    'SNAPSHOT',
    `expected QEMU to say ${what} in what it saves of a guest, it does not: is it newer than the rig?`,
  )
