import { UsageError } from '../base/errors.ts'
import { type Kallsym, type LoadedBytes, readKallsyms } from './kallsyms.ts'
import { type KernelSymbol, encodeSymbols } from './symbols.ts'

/** Elf64_Ehdr: where the tables are, and how many entries they have. */
const HEADER = {
  size: 64,
  programs: 32,
  sections: 40,
  programCount: 56,
  sectionCount: 60,
} as const

/** Elf64_Phdr */
const PROGRAM = {
  size: 56,
  offset: 8,
  address: 16,
  fileSize: 32,
  load: 1,
} as const

/** Elf64_Shdr */
const SECTION = {
  size: 64,
  type: 4,
  address: 16,
  offset: 24,
  length: 32,
  link: 40,
  info: 44,
  align: 48,
  entry: 56,
  bits: 1,
  symbols: 2,
  strings: 3,
} as const

const SYMBOL_SIZE = 24n

/** A kernel has fifty; whoever made the file may say anything. */
const MAX_SECTIONS = 1000

/**
 * A kernel image that was stripped, with the symbols it carries for itself as
 * a symbol table: what reads an unstripped vmlinux can read it.
 *
 * @param elf an ELF64 file for x86-64; bytes behind it are kept
 * @param path what it was taken from, for messages
 * @throws UsageError when it carries none
 */
export const withSymbols = (elf: Buffer, path: string): Buffer => {
  const loaded = loadedBytes(elf, path)
  const kallsyms = readKallsyms(elf, loaded)
  if (!kallsyms)
    throw new UsageError(
      'KERNEL_SYMBOLS',
      `expected symbols in ${path}, found no symbol table and no kallsyms: build it with CONFIG_KALLSYMS=y, or give the unstripped vmlinux of the same build`,
    )
  const { entries, names } = encodeSymbols(withSizes(kallsyms))
  const namesAt = up(elf.length)
  const entriesAt = up(namesAt + names.length)
  const sectionsAt = up(entriesAt + entries.length)
  const before = sectionHeaders(elf, loaded)
  const headers = [
    ...before,
    sectionHeader({
      type: SECTION.symbols,
      file: { start: entriesAt, end: entriesAt + entries.length },
      link: before.length + 1,
      // One past the last local symbol: all are.
      info: kallsyms.length + 1,
      entry: SYMBOL_SIZE,
    }),
    sectionHeader({
      type: SECTION.strings,
      file: { start: namesAt, end: namesAt + names.length },
    }),
  ]
  const result = Buffer.alloc(sectionsAt + headers.length * SECTION.size)
  elf.copy(result)
  names.copy(result, namesAt)
  entries.copy(result, entriesAt)
  for (const [i, header] of headers.entries())
    header.copy(result, sectionsAt + i * SECTION.size)
  result.writeBigUInt64LE(BigInt(sectionsAt), HEADER.sections)
  result.writeUInt16LE(SECTION.size, HEADER.sectionCount - 2)
  result.writeUInt16LE(headers.length, HEADER.sectionCount)
  return result
}

const up = (at: number): number => Math.ceil(at / 16) * 16

/** A symbol reaches to the next address, as kallsyms_lookup() has it. */
const withSizes = (symbols: readonly Kallsym[]): KernelSymbol[] => {
  const sized: KernelSymbol[] = []
  let next = symbols.at(-1)!.address
  let following = next
  for (const { name, address } of symbols.toReversed()) {
    if (address !== next) {
      following = next
      next = address
    }
    sized.push({ name, address, size: following - address })
  }
  return sized.reverse()
}

/** What the program headers load. */
const loadedBytes = (elf: Buffer, path: string): LoadedBytes[] => {
  const broken = (found: string): UsageError =>
    new UsageError(
      'KERNEL_IMAGE',
      `expected an ELF64 x86-64 kernel image in ${path}, found ${found}`,
    )
  if (elf.length < HEADER.size || elf.toString('latin1', 0, 4) !== '\x7fELF')
    throw broken('no ELF file')
  if (elf[4] !== 2 || elf[5] !== 1 || elf.readUInt16LE(18) !== 62)
    throw broken('an ELF file for another machine')
  const table = Number(elf.readBigUInt64LE(HEADER.programs))
  const count = elf.readUInt16LE(HEADER.programCount)
  if (table + count * PROGRAM.size > elf.length)
    throw broken('a truncated ELF file')
  return Array.from({ length: count }, (_, i) => table + i * PROGRAM.size)
    .filter(at => elf.readUInt32LE(at) === PROGRAM.load)
    .map(at => {
      const start = Number(elf.readBigUInt64LE(at + PROGRAM.offset))
      const end = start + Number(elf.readBigUInt64LE(at + PROGRAM.fileSize))
      if (end > elf.length) throw broken('a truncated ELF file')
      return {
        address: elf.readBigUInt64LE(at + PROGRAM.address),
        file: { start, end },
      }
    })
}

/** As they are; of a file without, one for each part that is loaded. */
const sectionHeaders = (
  elf: Buffer,
  loaded: readonly LoadedBytes[],
): Buffer[] => {
  const table = Number(elf.readBigUInt64LE(HEADER.sections))
  const count = elf.readUInt16LE(HEADER.sectionCount)
  const end = table + count * SECTION.size
  if (count > 0 && count <= MAX_SECTIONS && end <= elf.length)
    return Array.from({ length: count }, (_, i) => {
      const at = table + i * SECTION.size
      return elf.subarray(at, at + SECTION.size)
    })
  return [
    Buffer.alloc(SECTION.size),
    ...loaded.map(({ address, file }) =>
      sectionHeader({ type: SECTION.bits, address, file }),
    ),
  ]
}

interface SectionHeader {
  readonly type: number
  readonly file: LoadedBytes['file']
  readonly address?: bigint
  readonly link?: number
  readonly info?: number
  readonly entry?: bigint
}

const sectionHeader = ({
  type,
  file: { start, end },
  address = 0n,
  link = 0,
  info = 0,
  entry = 0n,
}: SectionHeader): Buffer => {
  const header = Buffer.alloc(SECTION.size)
  header.writeUInt32LE(type, SECTION.type)
  header.writeBigUInt64LE(address, SECTION.address)
  header.writeBigUInt64LE(BigInt(start), SECTION.offset)
  header.writeBigUInt64LE(BigInt(end - start), SECTION.length)
  header.writeUInt32LE(link, SECTION.link)
  header.writeUInt32LE(info, SECTION.info)
  header.writeBigUInt64LE(1n, SECTION.align)
  header.writeBigUInt64LE(entry, SECTION.entry)
  return header
}
