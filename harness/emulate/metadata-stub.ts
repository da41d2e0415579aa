import { InfraError } from '../base/errors.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { MetadataEntry } from '../tdx/metadata.ts'
import { assemble } from './assembler.ts'
import type { Debugger } from './debugger.ts'
import type { PaddedSite, StopPads } from './stop-pads.ts'
import { PAGE, type TextGap, isThere, isUnused } from './text-gap.ts'

/** Calls that are noted before one stops the guest. */
const NOTED = 250
const NOTE_SIZE = 16
const ENTRY_SIZE = 24

/** Its limit is the number of the CPU, and the node (asm/segment.h). */
const CPUNODE_SEG = 15 * 8 + 3

/** A call that was answered in the guest. */
export interface AnsweredRead {
  readonly field: bigint
  readonly cpu: number
}

/** Where the code goes: behind the pads, one of which takes what it leaves. */
export interface StubPlace {
  readonly gap: TextGap
  readonly pads: StopPads
  /** `__seamcall_ret`. */
  readonly padded: PaddedSite
}

/**
 * Answers TDH.SYS.RD in the guest. Linux 7.1 and later read some eighty fields
 * one by one, which never change while nothing else is called: a stop for each
 * takes longer than all the rest of the initialisation. The code looks the field
 * up in a table, notes the call, and goes on behind it; whatever it does not
 * know stops the guest as ever.
 */
export class MetadataStub {
  readonly #guest: Debugger
  readonly #place: StubPlace
  #isInstalled = false
  /** Nothing of the kernel's lies where this goes. */
  #wasUnused = false

  constructor(guest: Debugger, place: StubPlace) {
    this.#guest = guest
    this.#place = place
  }

  get isInstalled(): boolean {
    return this.#isInstalled
  }

  /** A count, and 16 bytes behind it the notes. */
  get #notes(): bigint {
    return this.#place.pads.end + PAGE
  }

  get #table(): bigint {
    return this.#notes + PAGE
  }

  /**
   * In a stopped guest with pads.
   *
   * @returns false: it cannot be, and all is as it was
   */
  async install(
    cpu: number,
    table: readonly MetadataEntry[],
  ): Promise<boolean> {
    const { gap, pads, padded } = this.#place
    const pad = pads.padAt(padded.site)
    if (table.length === 0 || pad === undefined) return false
    const start = pads.end
    const size = Number(this.#table - start) + (table.length + 1) * ENTRY_SIZE
    const part = { start, length: size }
    if (!(await isThere(this.#guest, cpu, gap))) return false
    this.#wasUnused ||= await isUnused(this.#guest, cpu, gap, part)
    if (!this.#wasUnused) return false
    const write = (address: bigint, bytes: Uint8Array): Promise<void> =>
      this.#guest.writeVirtual(cpu, address, bytes)
    await write(this.#table, encodeTable(table))
    await write(this.#notes, Buffer.alloc(8))
    const places = { pad, notes: this.#notes, table: this.#table }
    await write(start, fastCode(start, { ...places, behind: padded.behind }))
    await pads.jumpFrom(cpu, padded.site, start)
    this.#isInstalled = true
    return true
  }

  /**
   * The calls since the last time, in their order.
   *
   * @throws InfraError when something else has written there
   */
  async collect(cpu: number): Promise<AnsweredRead[]> {
    const guest = this.#guest
    const head = Buffer.from(await guest.readVirtual(cpu, this.#notes, 8))
    const count = Number(head.readBigUInt64LE())
    if (count === 0) return []
    if (count > NOTED) throw overwritten(`${count} calls`)
    const notes = Buffer.from(
      await guest.readVirtual(cpu, this.#notes + 16n, count * NOTE_SIZE),
    )
    await guest.writeVirtual(cpu, this.#notes, Buffer.alloc(8))
    return Array.from({ length: count }, (_, i) => {
      // The node above 12 bits of the CPU (vdso_encode_cpunode()).
      const by = notes.readUInt32LE(i * NOTE_SIZE + 8) & 0xfff
      if (by >= guest.cpus) throw overwritten(`a call by CPU ${by}`)
      return { field: notes.readBigUInt64LE(i * NOTE_SIZE), cpu: by }
    })
  }

  /** The kernel that it was put into is gone, and its memory is another's. */
  abandon(): void {
    this.#isInstalled = false
    this.#wasUnused = false
  }

  /** Every call stops the guest. */
  async uninstall(cpu: number): Promise<void> {
    const { pads, padded } = this.#place
    this.#isInstalled = false
    await pads.jumpFrom(cpu, padded.site, pads.padAt(padded.site)!)
  }
}

const overwritten = (found: string): InfraError =>
  new InfraError(
    'METADATA',
    `expected notes of the reads of metadata that were answered in the guest, found ${found}: something else has written there; --no-shortcuts does without`,
  )

const encodeTable = (table: readonly MetadataEntry[]): Buffer => {
  // The last entry is the end: no field has the id 0.
  const bytes = Buffer.alloc((table.length + 1) * ENTRY_SIZE)
  for (const [i, { id, next, value }] of table.entries()) {
    bytes.writeBigUInt64LE(id, i * ENTRY_SIZE)
    bytes.writeBigUInt64LE(next, i * ENTRY_SIZE + 8)
    bytes.writeBigUInt64LE(value, i * ENTRY_SIZE + 16)
  }
  return bytes
}

/** Places that the code has to do with. */
interface Places {
  /** For what it does not know. */
  readonly pad: bigint
  readonly notes: bigint
  readonly table: bigint
  /** Where a call that has succeeded goes on. */
  readonly behind: bigint
}

/** Of the end of the code, which loads the leaf again and goes to the pad. */
const FULL = 0x100n

/**
 * RAX has the leaf, RDX the field; RDI is free (TDX_MODULE_CALL keeps the leaf
 * there, and has moved it to RAX).
 */
const fastCode = (
  start: bigint,
  { pad, notes, table, behind }: Places,
): Buffer => {
  const full = start + FULL
  const code = assemble(start, [
    // cmp $TDH_SYS_RD, %rax; jne pad
    [[0x48, 0x83, 0xf8, LEAF.SYS_RD]],
    [[0x0f, 0x85], pad],
    // test %rcx, %rcx; jne pad: the notes have no place for it.
    [[0x48, 0x85, 0xc9]],
    [[0x0f, 0x85], pad],
    // test %r8, %r8; jne pad
    [[0x4d, 0x85, 0xc0]],
    [[0x0f, 0x85], pad],
    // lea table(%rip), %rdi
    [[0x48, 0x8d, 0x3d], table],
    // 1: cmp %rdx, (%rdi); je 2f
    [[0x48, 0x39, 0x17]],
    [[0x74, 0x0f]],
    // add $24, %rdi; cmpq $0, (%rdi); jne 1b; jmp pad
    [[0x48, 0x83, 0xc7, ENTRY_SIZE]],
    [[0x48, 0x83, 0x3f, 0x00]],
    [[0x75, 0xf1]],
    [[0xe9], pad],
    // 2: mov notes(%rip), %rax; cmp $NOTED, %rax; jae full
    [[0x48, 0x8b, 0x05], notes],
    [[0x48, 0x3d, NOTED & 0xff, NOTED >> 8, 0, 0]],
    [[0x0f, 0x83], full],
    // lea notes+16(%rip), %rcx; shl $4, %rax; mov %rdx, (%rcx,%rax)
    [[0x48, 0x8d, 0x0d], notes + 16n],
    [[0x48, 0xc1, 0xe0, 0x04]],
    [[0x48, 0x89, 0x14, 0x01]],
    // mov $__CPUNODE_SEG, %r8d; lsl %r8d, %r8d: TCG of QEMU 7.2 has no RDPID.
    [[0x41, 0xb8, CPUNODE_SEG, 0, 0, 0]],
    [[0x45, 0x0f, 0x03, 0xc0]],
    // mov %r8, 8(%rcx,%rax); incq notes(%rip)
    [[0x4c, 0x89, 0x44, 0x01, 0x08]],
    [[0x48, 0xff, 0x05], notes],
    // mov 8(%rdi), %rdx; mov 16(%rdi), %r8; xor %ecx, %ecx
    [[0x48, 0x8b, 0x57, 0x08]],
    [[0x4c, 0x8b, 0x47, 0x10]],
    [[0x31, 0xc9]],
    // xor %eax, %eax: success, and no carry
    [[0x31, 0xc0]],
    [[0xe9], behind],
  ])
  const room = Buffer.alloc(Number(FULL) - code.length)
  return Buffer.concat([
    code,
    room,
    // full: mov $TDH_SYS_RD, %eax; jmp pad
    assemble(full, [[[0xb8, LEAF.SYS_RD, 0, 0, 0]], [[0xe9], pad]]),
  ])
}
