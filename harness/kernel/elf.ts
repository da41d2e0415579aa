import { type FileHandle, open } from 'node:fs/promises'
import { UsageError, systemCode } from '../base/errors.ts'
import { memoized } from '../base/memo.ts'
import type { Range } from '../memory/range.ts'
import { type KernelSymbol, SymbolTable } from './symbols.ts'

interface Section {
  readonly type: number
  readonly address: bigint
  readonly offset: number
  readonly size: number
  readonly link: number
}

const SHT_PROGBITS = 1
const SHT_SYMTAB = 2
const SHT_NOBITS = 8
const SECTION_SIZE = 64

/** __START_KERNEL_map (arch/x86/include/asm/page_64_types.h). */
const START_KERNEL_MAP = 0xffffffff80000000n

/** Bytes of a line of text. */
const MAX_TEXT = 512

/** What is read at a time of what is looked at in small pieces. */
const BLOCK = 64 * 1024
/** Blocks that are kept, some megabytes. */
const KEPT_BLOCKS = 64

/** Farther from any symbol there is no kernel code. */
const MAX_DISTANCE = 0x100000n

/**
 * The symbols and bytes of an ELF64 little-endian kernel image (`vmlinux`).
 * Addresses are virtual, as linked: right for a kernel booted with `nokaslr`.
 */
export class KernelImage {
  readonly path: string
  readonly #sections: readonly Section[]
  readonly #symbols: SymbolTable
  /** Of the file, by their numbers: the same places are looked at often. */
  readonly #blocks = new Map<number, Buffer>()

  private constructor(
    path: string,
    sections: readonly Section[],
    symbols: SymbolTable,
  ) {
    this.path = path
    this.#sections = sections
    this.#symbols = symbols
  }

  /** @throws UsageError when there is no such file, or no symbols in it */
  static async open(path: string): Promise<KernelImage> {
    let file: FileHandle
    try {
      file = await open(path)
    } catch (error) {
      throw new UsageError(
        'KERNEL_IMAGE',
        systemCode(error) === 'ENOENT'
          ? `expected a vmlinux at ${path}, found no such file: build the kernel with 'tdxrig kernel build'`
          : `cannot read ${path}: ${systemCode(error) ?? 'unknown error'}`,
        { cause: error },
      )
    }
    try {
      const sections = await readSections(file, path)
      const { size } = await file.stat()
      if (sections.some(section => isBeyond(section, size)))
        throw notAKernel(path, 'a truncated ELF file')
      const loaded = sections.filter(({ type }) => type === SHT_PROGBITS)
      if (loaded.reduce((sum, section) => sum + section.size, 0) > size)
        throw notAKernel(path, 'one whose sections overlap')
      const symbols = await readSymbols(file, path, sections)
      return new KernelImage(path, sections, symbols)
    } finally {
      await file.close()
    }
  }

  /**
   * Whether an ELF file has a symbol table.
   *
   * @throws UsageError when the file is no kernel image
   */
  static async hasSymbols(path: string): Promise<boolean> {
    const file = await open(path)
    try {
      const sections = await readSections(file, path)
      return sections.some(({ type }) => type === SHT_SYMTAB)
    } finally {
      await file.close()
    }
  }

  /** Physical range of the image, as `nokaslr` leaves it; setup_arch(). */
  get physicalRange(): Range | undefined {
    const start = this.symbol('_text')?.address
    const end = this.symbol('_end')?.address
    if (start === undefined || end === undefined) return undefined
    return {
      start: this.physicalAddress(start),
      end: this.physicalAddress(end),
    }
  }

  /** Bytes from one symbol to another; undefined: there is none of one. */
  distance(from: string, to: string): number | undefined {
    const start = this.symbol(from)?.address
    const end = this.symbol(to)?.address
    return start === undefined || end === undefined
      ? undefined
      : Number(end - start)
  }

  /** Where an address of the kernel image lies in memory, without KASLR. */
  physicalAddress(address: bigint): number {
    return Number(address - START_KERNEL_MAP)
  }

  symbol(name: string): KernelSymbol | undefined {
    return this.#symbols.find(name)
  }

  get symbolCount(): number {
    return this.#symbols.count
  }

  /** Symbols with this in their names, and names that match. */
  symbolsLike(part: string, pattern?: RegExp): KernelSymbol[] {
    return this.#symbols.like(part, pattern)
  }

  /** The nearest symbol at or below an address: `symbol+0x12`. */
  symbolize(address: bigint): string | undefined {
    const nearest = this.#symbols.nearest(address)
    if (!nearest || address - nearest.address > MAX_DISTANCE) return undefined
    return `${nearest.name}+0x${(address - nearest.address).toString(16)}`
  }

  /**
   * Which of some texts stand in sections that are loaded. Remembered for the
   * file: a kernel has megabytes, and every run asks the same.
   */
  async textsIn(texts: readonly string[]): Promise<ReadonlySet<string>> {
    const found = await memoized(
      this.path,
      `texts ${JSON.stringify(texts)}`,
      async () => JSON.stringify(await this.#searchTexts(texts)),
    )
    return new Set(JSON.parse(found) as string[])
  }

  async #searchTexts(texts: readonly string[]): Promise<string[]> {
    const found = new Set<string>()
    for await (const bytes of this.#loadedSections())
      for (const text of texts)
        if (bytes.includes(text, 0, 'latin1')) found.add(text)
    return [...found]
  }

  /**
   * The first line that is loaded and looks like this. Remembered as well.
   *
   * @param start of the line @param pattern of all of it
   */
  async textLike(start: string, pattern: RegExp): Promise<string | undefined> {
    const found = await memoized(this.path, `text like ${pattern.source}`, () =>
      this.#searchText(start, pattern),
    )
    return found === '' ? undefined : found
  }

  async #searchText(start: string, pattern: RegExp): Promise<string> {
    for await (const bytes of this.#loadedSections())
      for (
        let at = bytes.indexOf(start, 0, 'latin1');
        at >= 0;
        at = bytes.indexOf(start, at + 1, 'latin1')
      ) {
        const text = bytes.toString('latin1', at, at + MAX_TEXT)
        const line = /^[^\0\n]*/.exec(text)![0]
        if (pattern.test(line)) return line
      }
    return ''
  }

  async *#loadedSections(): AsyncGenerator<Buffer> {
    const file = await open(this.path)
    try {
      for (const { type, address, offset, size } of this.#sections)
        if (type === SHT_PROGBITS && address !== 0n)
          yield await readAt(file, offset, size)
    } finally {
      await file.close()
    }
  }

  /** Bytes at a virtual address; fewer when a section ends before. */
  async bytesAt(address: bigint, length: number): Promise<Uint8Array> {
    const section = this.#sections.find(
      ({ address: start, size, type }) =>
        type !== SHT_NOBITS &&
        start !== 0n &&
        address >= start &&
        address < start + BigInt(size),
    )
    if (!section) return new Uint8Array()
    const skip = Number(address - section.address)
    const start = section.offset + skip
    return this.#fileBytes(start, Math.min(length, section.size - skip))
  }

  async #fileBytes(start: number, length: number): Promise<Buffer> {
    const first = Math.floor(start / BLOCK)
    const behind = Math.ceil((start + length) / BLOCK)
    if (behind - first > KEPT_BLOCKS / 2) return this.#read(start, length)
    const blocks: Buffer[] = []
    for (let number = first; number < behind; number++)
      blocks.push(await this.#block(number))
    const from = start - first * BLOCK
    return Buffer.concat(blocks).subarray(from, from + length)
  }

  async #block(number: number): Promise<Buffer> {
    const known = this.#blocks.get(number)
    if (known) return known
    const block = await this.#read(number * BLOCK, BLOCK)
    if (this.#blocks.size >= KEPT_BLOCKS) this.#blocks.clear()
    this.#blocks.set(number, block)
    return block
  }

  async #read(start: number, length: number): Promise<Buffer> {
    const file = await open(this.path)
    try {
      return await readAt(file, start, length)
    } finally {
      await file.close()
    }
  }
}

const readAt = async (
  file: FileHandle,
  position: number,
  length: number,
): Promise<Buffer> => {
  if (length > MAX_PART)
    throw new UsageError(
      'KERNEL_IMAGE',
      `expected a kernel, found an ELF file with a part of ${length} bytes: that is larger than any`,
    )
  const { buffer, bytesRead } = await file.read(
    Buffer.alloc(length),
    0,
    length,
    position,
  )
  return buffer.subarray(0, bytesRead)
}

/** What one read of Node.js takes, and more than a part of a kernel has. */
const MAX_PART = 2 ** 31 - 1

const isBeyond = ({ type, offset, size }: Section, end: number): boolean =>
  type !== SHT_NOBITS && offset + size > end

const notAKernel = (path: string, found: string): UsageError =>
  new UsageError(
    'KERNEL_IMAGE',
    `expected an ELF64 x86-64 kernel image (vmlinux) at ${path}, found ${found}`,
  )

const readSections = async (
  file: FileHandle,
  path: string,
): Promise<Section[]> => {
  const header = await readAt(file, 0, 64)
  if (header.length < 64 || header.toString('latin1', 0, 4) !== '\x7fELF')
    throw notAKernel(path, 'no ELF file')
  if (header[4] !== 2 || header[5] !== 1 || header.readUInt16LE(18) !== 62)
    throw notAKernel(path, 'an ELF file for another machine')
  const offset = Number(header.readBigUInt64LE(40))
  const count = header.readUInt16LE(60)
  const table = await readAt(file, offset, count * SECTION_SIZE)
  if (table.length < count * SECTION_SIZE)
    throw notAKernel(path, 'a truncated ELF file')
  return Array.from({ length: count }, (_, i) => {
    const at = i * SECTION_SIZE
    return {
      type: table.readUInt32LE(at + 4),
      address: table.readBigUInt64LE(at + 16),
      offset: Number(table.readBigUInt64LE(at + 24)),
      size: Number(table.readBigUInt64LE(at + 32)),
      link: table.readUInt32LE(at + 40),
    }
  })
}

const readSymbols = async (
  file: FileHandle,
  path: string,
  sections: readonly Section[],
): Promise<SymbolTable> => {
  const table = sections.find(section => section.type === SHT_SYMTAB)
  const strings = table && sections[table.link]
  if (strings?.type === SHT_NOBITS)
    throw notAKernel(path, 'symbols without names')
  if (!table || !strings)
    throw new UsageError(
      'KERNEL_SYMBOLS',
      `${path} has no symbol table: use the unstripped vmlinux of the build`,
    )
  return new SymbolTable(
    await readAt(file, table.offset, table.size),
    await readAt(file, strings.offset, strings.size),
  )
}
