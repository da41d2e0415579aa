/** A symbol of the kernel image. */
export interface KernelSymbol {
  readonly name: string
  readonly address: bigint
  /** Bytes; 0 for labels without a size. */
  readonly size: bigint
}

/** Elf64_Sym: st_name, st_info, st_other, st_shndx, st_value, st_size. */
const ENTRY_SIZE = 24
/** The same in 32-bit words: st_name is the first, st_value two of them. */
const ENTRY_WORDS = 6
const VALUE_WORD = 2
const SECTION = 6
const VALUE = 8
const SIZE = 16

/** KSYM_NAME_LEN: no name of a kernel is longer. */
const MAX_NAME = 512

/** Places a name is looked for at; more are in no kernel, but in a forged one. */
const MAX_PLACES = 1_000_000

/** SHN_ABS: of no section. */
const ABSOLUTE = 0xfff1

/**
 * An ELF symbol table that is searched where it lies: a kernel has tens of
 * thousands of symbols and the rig asks for six.
 */
export class SymbolTable {
  readonly #entries: Buffer
  /** The entries as words: a search reads one of each. */
  readonly #words: Uint32Array
  readonly #names: Buffer

  /** @param entries bytes of .symtab @param names bytes of .strtab */
  constructor(entries: Buffer, names: Buffer) {
    this.#entries = entries
    this.#words = wordsOf(entries)
    this.#names = names
  }

  /** The first symbol of that name; static names may occur twice. */
  find(name: string): KernelSymbol | undefined {
    const places = [...this.#offsetsOf(name)].flatMap(
      start => this.#firstAt(start) ?? [],
    )
    return places.length === 0 ? undefined : this.#symbolAt(Math.min(...places))
  }

  /** The first entry with an address whose name begins here. */
  #firstAt(start: number): number | undefined {
    const words = this.#words
    for (
      let at = words.indexOf(start);
      at >= 0;
      at = words.indexOf(start, at + 1)
    )
      if (at % ENTRY_WORDS === 0 && hasAddress(words, at))
        return (at / ENTRY_WORDS) * ENTRY_SIZE
    return undefined
  }

  /** Entries with an address whose names begin at one of these places. */
  *#entriesOf(starts: ReadonlySet<number>): Generator<number> {
    const words = this.#words
    for (let at = 0; at < words.length; at += ENTRY_WORDS)
      if (starts.has(words[at]!) && hasAddress(words, at))
        yield (at / ENTRY_WORDS) * ENTRY_SIZE
  }

  /**
   * Symbols whose names match.
   *
   * @param part stands in every such name: most names are never looked at
   */
  like(part: string, pattern = /^/): KernelSymbol[] {
    const starts = new Set<number>()
    let before = -1
    for (
      let at = this.#names.indexOf(part, 0, 'latin1');
      at >= 0 && starts.size < MAX_PLACES;
      at = this.#names.indexOf(part, at + 1, 'latin1')
    ) {
      // A name may begin anywhere in another that ends like it.
      for (
        let i = at;
        i > before && (i === at || this.#names[i] !== 0) && at - i < MAX_NAME;
        i--
      )
        starts.add(i)
      before = at
    }
    const found: KernelSymbol[] = []
    for (const at of this.#entriesOf(starts)) {
      const symbol = this.#symbolAt(at)
      if (pattern.test(symbol.name)) found.push(symbol)
    }
    return found
  }

  /** The symbol with the highest address that is not above this one. */
  nearest(address: bigint): KernelSymbol | undefined {
    let best = -1
    let bestAddress = 0n
    for (let at = 0; at < this.#end; at += ENTRY_SIZE) {
      const value = this.#entries.readBigUInt64LE(at + VALUE)
      if (value > address || value <= bestAddress) continue
      if (this.#entries.readUInt32LE(at) === 0) continue
      best = at
      bestAddress = value
    }
    return best < 0 ? undefined : this.#symbolAt(best)
  }

  /** Number of symbols. */
  get count(): number {
    return this.#end / ENTRY_SIZE
  }

  /** One past the last whole entry. */
  get #end(): number {
    return this.#entries.length - (this.#entries.length % ENTRY_SIZE)
  }

  /** Where the name stands; linkers let a name share the end of another. */
  #offsetsOf(name: string): Set<number> {
    const offsets = new Set<number>()
    const text = Buffer.from(`${name}\0`, 'latin1')
    for (
      let at = this.#names.indexOf(text);
      at >= 0 && offsets.size < MAX_PLACES;
      at = this.#names.indexOf(text, at + 1)
    )
      offsets.add(at)
    return offsets
  }

  #symbolAt(at: number): KernelSymbol {
    const start = this.#entries.readUInt32LE(at)
    return {
      name: this.#names.toString(
        'latin1',
        start,
        this.#names.indexOf(0, start),
      ),
      address: this.#entries.readBigUInt64LE(at + VALUE),
      size: this.#entries.readBigUInt64LE(at + SIZE),
    }
  }
}

const hasAddress = (words: Uint32Array, at: number): boolean =>
  words[at + VALUE_WORD] !== 0 || words[at + VALUE_WORD + 1] !== 0

/** Whole entries, at an address that a word may have. */
const wordsOf = (entries: Buffer): Uint32Array => {
  const length = entries.length - (entries.length % ENTRY_SIZE)
  const { buffer, byteOffset } =
    entries.byteOffset % 4 === 0
      ? entries
      : new Uint8Array(entries.subarray(0, length))
  return new Uint32Array(buffer, byteOffset, length / 4)
}

/** Symbols as the bytes of .symtab and .strtab. */
export const encodeSymbols = (
  symbols: readonly KernelSymbol[],
): { readonly entries: Buffer; readonly names: Buffer } => {
  // The first of each is nothing.
  const entries = Buffer.alloc((symbols.length + 1) * ENTRY_SIZE)
  const names: Buffer[] = [Buffer.of(0)]
  let end = 1
  for (const [i, { name, address, size }] of symbols.entries()) {
    const at = (i + 1) * ENTRY_SIZE
    entries.writeUInt32LE(end, at)
    entries.writeUInt16LE(ABSOLUTE, at + SECTION)
    entries.writeBigUInt64LE(address, at + VALUE)
    entries.writeBigUInt64LE(size, at + SIZE)
    const text = Buffer.from(`${name}\0`, 'latin1')
    names.push(text)
    end += text.length
  }
  return { entries, names: Buffer.concat(names) }
}
