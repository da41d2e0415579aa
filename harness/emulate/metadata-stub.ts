import { InfraError } from '../base/errors.ts'
import type { KernelImage } from '../kernel/elf.ts'
import { LEAF } from '../tdx/leaves.ts'
import type { MetadataEntry } from '../tdx/metadata.ts'
import type { Debugger } from './debugger.ts'
import type { Site } from './sites.ts'

/** Where code can be put into a kernel, and what it is called from. */
export interface StubPlace {
  readonly site: Site
  /** Offset of the jump that follows SEAMCALL, from behind itself. */
  readonly onCarry: number
  /** Pages between text and rodata, which the kernel frees when it is up. */
  readonly start: bigint
  readonly end: bigint
  /** `system_state` (init/main.c): they are there until it is 2. */
  readonly systemState: bigint
  /** Where the pages are freed, and where a kernel ends. */
  readonly ends: readonly bigint[]
}

const PAGE = 4096n
/** `jc rel8` behind SEAMCALL (arch/x86/virt/vmx/tdx/tdxcall.S). */
const JUMP_ON_CARRY = 0x72
const SEAMCALL_LENGTH = 4
/** Of what stands there a jump takes this much. */
const PATCHED = 5
/** Behind SEAMCALL and the jump on carry. */
const BEHIND = 6

/** SYSTEM_FREEING_INITMEM (include/linux/kernel.h). */
const FREEING_INITMEM = 2

/**
 * @returns undefined where the kernel is of another form, or has no room; then
 *   it is stopped at every call
 */
export const findStubPlace = async (
  image: KernelImage,
  sites: readonly Site[],
): Promise<StubPlace | undefined> => {
  const site = sites.find(({ symbol }) => symbol === '__seamcall_ret')
  const text = image.symbol('_etext')?.address
  const rodata = image.symbol('__start_rodata')?.address
  const frees = image.symbol('mark_rodata_ro')?.address
  const panics = image.symbol('panic')?.address
  const systemState = image.symbol('system_state')?.address
  if (!site || site.kind !== 'seamcall' || text === undefined) return undefined
  if (rodata === undefined || frees === undefined) return undefined
  if (panics === undefined || systemState === undefined) return undefined
  const [jump, onCarry] = await image.bytesAt(
    site.address + BigInt(SEAMCALL_LENGTH),
    2,
  )
  if (jump !== JUMP_ON_CARRY || onCarry === undefined) return undefined
  const start = (text + 2n * PAGE) & ~(PAGE - 1n)
  return start < rodata
    ? { site, onCarry, start, end: rodata, systemState, ends: [frees, panics] }
    : undefined
}

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
  #original: Uint8Array | undefined

  constructor(guest: Debugger, place: StubPlace) {
    this.#guest = guest
    this.#place = place
  }

  get isInstalled(): boolean {
    return this.#original !== undefined
  }

  /** Where it stops the guest instead of at the site. */
  get slow(): bigint {
    return this.#place.start + PAGE
  }

  get site(): Site {
    return this.#place.site
  }

  /** Where a call that has succeeded goes on, whether this is installed or not. */
  get behind(): bigint {
    return this.#place.site.address + BigInt(BEHIND)
  }

  /** @returns whether a stop is one at which it must be gone */
  endsAt(rip: bigint): boolean {
    return this.#place.ends.includes(rip)
  }

  /** In a stopped guest. @returns false: it cannot be, and all is as it was */
  async install(
    cpu: number,
    table: readonly MetadataEntry[],
  ): Promise<boolean> {
    const { site, start, end, systemState, ends } = this.#place
    const size = BigInt((table.length + 1) * ENTRY_SIZE)
    if (table.length === 0 || start + 3n * PAGE + size > end) return false
    const state = await this.#guest.readVirtual(cpu, systemState, 4)
    if (Buffer.from(state).readUInt32LE() >= FREEING_INITMEM) return false
    if (!(await this.#isUnused(cpu, Number(3n * PAGE + size)))) return false
    const write = (address: bigint, bytes: Uint8Array): Promise<void> =>
      this.#guest.writeVirtual(cpu, address, bytes)
    await write(start + 3n * PAGE, encodeTable(table))
    await write(this.#notes, Buffer.alloc(8))
    await write(start, fastCode(this.#place))
    await write(this.slow, slowCode(this.#place))
    this.#original = await this.#guest.readVirtual(cpu, site.address, PATCHED)
    await write(site.address, jump(site.address, start))
    await Promise.all([
      this.#guest.remove(site.address),
      ...[this.slow, ...ends].map(address => this.#guest.plant(address)),
    ])
    return true
  }

  /** The linker fills what lies between sections with one byte. */
  async #isUnused(cpu: number, length: number): Promise<boolean> {
    const { start } = this.#place
    const bytes = await this.#guest.readVirtual(cpu, start, length)
    return bytes.every(byte => byte === bytes[0])
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
  async abandon(): Promise<void> {
    this.#original = undefined
    await Promise.all([
      this.#guest.plant(this.#place.site.address),
      ...[this.slow, ...this.#place.ends].map(address =>
        this.#guest.remove(address),
      ),
    ])
  }

  /** The kernel's code is as it was, and stops at the site. */
  async uninstall(cpu: number): Promise<void> {
    const { site, ends } = this.#place
    await this.#guest.writeVirtual(cpu, site.address, this.#original!)
    this.#original = undefined
    await Promise.all([
      this.#guest.plant(site.address),
      ...[this.slow, ...ends].map(address => this.#guest.remove(address)),
    ])
  }

  /** A count, and 16 bytes behind it the notes. */
  get #notes(): bigint {
    return this.#place.start + 2n * PAGE
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

/** A distance as instructions have it, from the end of the instruction. */
const relative = (from: bigint, to: bigint): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(Number(to - from))
  return bytes
}

const jump = (from: bigint, to: bigint): Buffer =>
  Buffer.concat([Buffer.from([0xe9]), relative(from + BigInt(PATCHED), to)])

/** One instruction: its bytes, and the place that ends them, if any. */
type Instruction = readonly [bytes: readonly number[], target?: bigint]

const assemble = (
  start: bigint,
  instructions: readonly Instruction[],
): Buffer => {
  const pieces: Buffer[] = []
  let at = start
  for (const [bytes, target] of instructions) {
    const opcode = Buffer.from(bytes)
    const next = at + BigInt(opcode.length + (target === undefined ? 0 : 4))
    pieces.push(opcode)
    if (target !== undefined) pieces.push(relative(next, target))
    at = next
  }
  return Buffer.concat(pieces)
}

/**
 * RAX has the leaf, RDX the field; RDI is free (TDX_MODULE_CALL keeps the leaf
 * there, and has moved it to RAX).
 */
const fastCode = ({ start, site }: StubPlace): Buffer => {
  const slow = start + PAGE
  const [notes, table] = [start + 2n * PAGE, start + 3n * PAGE]
  const behind = site.address + BigInt(BEHIND)
  return assemble(start, [
    // cmp $TDH_SYS_RD, %rax; jne slow
    [[0x48, 0x83, 0xf8, LEAF.SYS_RD]],
    [[0x0f, 0x85], slow],
    // test %rcx, %rcx; jne slow: the notes have no place for it.
    [[0x48, 0x85, 0xc9]],
    [[0x0f, 0x85], slow],
    // test %r8, %r8; jne slow
    [[0x4d, 0x85, 0xc0]],
    [[0x0f, 0x85], slow],
    // lea table(%rip), %rdi
    [[0x48, 0x8d, 0x3d], table],
    // 1: cmp %rdx, (%rdi); je 2f
    [[0x48, 0x39, 0x17]],
    [[0x74, 0x0f]],
    // add $24, %rdi; cmpq $0, (%rdi); jne 1b; jmp slow
    [[0x48, 0x83, 0xc7, ENTRY_SIZE]],
    [[0x48, 0x83, 0x3f, 0x00]],
    [[0x75, 0xf1]],
    [[0xe9], slow],
    // 2: mov notes(%rip), %rax; cmp $NOTED, %rax; jae slow + its mov
    [[0x48, 0x8b, 0x05], notes],
    [[0x48, 0x3d, NOTED & 0xff, NOTED >> 8, 0, 0]],
    [[0x0f, 0x83], slow + SLOW_WITH_LEAF],
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
}

/** Bytes of SEAMCALL and both jumps: behind them the leaf is loaded again. */
const SLOW_WITH_LEAF = BigInt(SEAMCALL_LENGTH + 6 + 5)

/** On a page of its own: on one with a breakpoint TCG goes step by step. */
const slowCode = ({ start, site, onCarry }: StubPlace): Buffer => {
  const slow = start + PAGE
  const behind = site.address + BigInt(BEHIND)
  return assemble(slow, [
    // seamcall; jc where the kernel goes; jmp behind it
    [[0x66, 0x0f, 0x01, 0xcf]],
    [[0x0f, 0x82], behind + BigInt(onCarry)],
    [[0xe9], behind],
    // mov $TDH_SYS_RD, %eax; jmp slow
    [[0xb8, LEAF.SYS_RD, 0, 0, 0]],
    [[0xe9], slow],
  ])
}
