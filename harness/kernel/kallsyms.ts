import type { Range } from '../memory/range.ts'

/** A symbol as the kernel names it to itself. */
export interface Kallsym {
  readonly name: string
  /** As nm has it: `T`, `t`, `d` ... */
  readonly type: string
  readonly address: bigint
}

/** Bytes of an image that are loaded, and where to. */
export interface LoadedBytes {
  /** Virtual address. */
  readonly address: bigint
  /** Where they stand in the file. */
  readonly file: Range
}

/**
 * The symbols a kernel carries in itself (CONFIG_KALLSYMS), found by content:
 * an image that was stripped has nothing that names them. scripts/kallsyms.c
 * writes, each aligned:
 *
 * - `num_syms`, and behind it `names`: for each symbol its length (ULEB128) and
 *   that many codes; the first letter they stand for is the type
 * - `markers`: where every 256th name begins
 * - `token_table`, what each of the 256 codes stands for, and `token_index`
 * - `offsets`, of the addresses; in Linux 6.1 before `num_syms`
 *
 * @param image bytes of an ELF file
 * @param loaded in order of their addresses
 * @returns undefined: there are none
 */
export const readKallsyms = (
  image: Buffer,
  loaded: readonly LoadedBytes[],
): Kallsym[] | undefined => {
  const effort = { left: MAX_EFFORT }
  for (const align of ALIGNMENTS)
    for (const tokens of tokenTables(image, { align, effort })) {
      const names = findNames(image, tokens, { align, effort })
      const addresses =
        names && findAddresses({ image, loaded, align, tokens, names })
      if (addresses)
        return names.texts.map((text, i) => ({
          type: text.charAt(0),
          name: text.slice(1),
          address: addresses[i]!,
        }))
    }
  return undefined
}

const CODES = 256

/** Names looked at; kernels need a few million, a forged image may need more. */
const MAX_EFFORT = 50_000_000
/** What looking at a place where names may begin costs, in names. */
const LOOK = 0.1
/** Of all names together; the largest kernels have a tenth of it. */
const MAX_CHARACTERS = 128 * 1024 * 1024

/** How each table is aligned: in Linux 7.2 and 7.3, and before. */
const ALIGNMENTS = [4, 8]

/** KSYM_NAME_LEN (include/linux/kallsyms.h), with the type. */
const MAX_NAME = 513

const up = (at: number, align: number): number => Math.ceil(at / align) * align
const down = (at: number, align: number): number =>
  Math.floor(at / align) * align

interface Tokens {
  readonly texts: readonly string[]
  /** Of each code: it begins with a type. */
  readonly mayBegin: readonly boolean[]
  /** In the file: the table, with the index behind it. */
  readonly place: Range
}

/** Every digit occurs in some name, so that each stands for itself. */
const DIGITS = Buffer.from('0123456789'.replaceAll(/./g, '$&\0'), 'latin1')
const CODE_OF_ZERO = 0x30

interface TokenSearch {
  readonly align: number
  readonly effort: { left: number }
}

/** Tables whose index agrees with them. */
function* tokenTables(image: Buffer, search: TokenSearch): Generator<Tokens> {
  for (
    let at = image.indexOf(DIGITS);
    at >= 0 && search.effort.left > 0;
    at = image.indexOf(DIGITS, at + 1)
  ) {
    const tokens = tokensAround(image, at, search)
    if (tokens) yield tokens
  }
}

const tokensAround = (
  image: Buffer,
  zero: number,
  { align, effort }: TokenSearch,
): Tokens | undefined => {
  // The end of the text before each text, back to the first.
  let end = zero - 1
  for (let i = 0; i < CODE_OF_ZERO && end >= 0; i++)
    end = image.lastIndexOf(0, end - 1)
  // What stands before the table need not end in a NUL: since Linux 6.2, and in
  // the stable 6.1, these are numbers of three bytes (kallsyms_seqs_of_names).
  const stop = image.indexOf(0, end + 1)
  const lowest = Math.max(end + 1, stop - MAX_NAME)
  for (let start = down(stop, align); start >= lowest; start -= align) {
    effort.left -= CODES
    const tokens = tokensAt(image, start, align)
    if (tokens) return tokens
  }
  return undefined
}

const tokensAt = (
  image: Buffer,
  start: number,
  align: number,
): Tokens | undefined => {
  const texts: string[] = []
  const starts: number[] = []
  let at = start
  while (texts.length < CODES) {
    const stop = image.indexOf(0, at)
    if (stop < 0) return undefined
    starts.push(at - start)
    if (stop - at > MAX_NAME) return undefined
    texts.push(image.toString('latin1', at, stop))
    at = stop + 1
  }
  const index = up(at, align)
  const stop = index + 2 * CODES
  if (stop > image.length) return undefined
  const agrees = starts.every(
    (offset, i) => image.readUInt16LE(index + 2 * i) === offset,
  )
  if (!agrees) return undefined
  const mayBegin = texts.map(text => TYPE.test(text))
  return { texts, mayBegin, place: { start, end: stop } }
}

interface Names {
  /** Each with its type before it. */
  readonly texts: readonly string[]
  /** Where `num_syms` stands in the file. */
  readonly at: number
}

/** Fewer are no kernel, and more none that exists. */
const MIN_NAMES = 256
const MAX_NAMES = 4 * 1024 * 1024
/** Names and markers of the largest kernels are smaller. */
const MAX_DISTANCE = 64 * 1024 * 1024

const findNames = (
  image: Buffer,
  tokens: Tokens,
  { align, effort }: Pick<NamesPlace, 'align' | 'effort'>,
): Names | undefined => {
  const { start } = tokens.place
  const lowest = Math.max(0, start - MAX_DISTANCE)
  for (let at = start - align; at >= lowest; at -= align) {
    effort.left -= LOOK
    if (effort.left <= 0) return undefined
    const count = image.readUInt32LE(at)
    if (count < MIN_NAMES || count > MAX_NAMES) continue
    // A name is two bytes or more.
    if (at + align + 2 * count > start) continue
    const texts = namesAt(image, {
      at: at + align,
      count,
      tokens,
      align,
      effort,
    })
    if (texts) return { texts, at }
  }
  return undefined
}

interface NamesPlace {
  readonly at: number
  readonly count: number
  readonly tokens: Tokens
  readonly align: number
  readonly effort: { left: number }
}

const TYPE = /^[A-Za-z?-]/
const NAMES_BY_MARKER = 256

/**
 * @returns undefined unless the markers behind the names agree with them. Most
 *   places are none: nothing is spelled out before that.
 */
const namesAt = (
  image: Buffer,
  { at: start, count, tokens, align, effort }: NamesPlace,
): string[] | undefined => {
  const limit = tokens.place.start
  const places: Range[] = []
  const marks: number[] = []
  let at = start
  while (places.length < count) {
    if (effort.left-- <= 0) return undefined
    if (places.length % NAMES_BY_MARKER === 0) marks.push(at - start)
    const first = image[at++]!
    // Before 6.1 no name was long enough for a second byte.
    const length = first < 0x80 ? first : (first & 0x7f) | (image[at++]! << 7)
    const end = at + length
    if (length === 0 || end > limit || !tokens.mayBegin[image[at]!])
      return undefined
    places.push({ start: at, end })
    at = end
  }
  const markers = up(at, align)
  if (markers + 4 * marks.length > limit) return undefined
  if (marks.some((mark, i) => image.readUInt32LE(markers + 4 * i) !== mark))
    return undefined
  const texts: string[] = []
  let characters = 0
  for (const place of places) {
    let text = ''
    for (let i = place.start; i < place.end; i++) {
      text += tokens.texts[image[i]!]!
      if (text.length > MAX_NAME) return undefined
    }
    characters += text.length
    if (characters > MAX_CHARACTERS) return undefined
    texts.push(text)
  }
  return texts
}

/** Kernel addresses begin here: __START_KERNEL_map. */
const LOWEST = 0xffffffff80000000n

interface Tables {
  readonly image: Buffer
  readonly loaded: readonly LoadedBytes[]
  readonly align: number
  readonly tokens: Tokens
  readonly names: Names
}

/** The form whose addresses ascend. */
const findAddresses = (tables: Tables): bigint[] | undefined => {
  const { image, align, tokens, names } = tables
  const count = names.texts.length
  const behind = up(tokens.place.end, align)
  const baseBehind = up(behind + 4 * count, align)
  const baseBefore = names.at - 8
  const before = down(baseBefore - 4 * count, align)
  return [
    // As in Linux 6.12: behind the names, and the base behind them.
    fromBase(image, { offsets: behind, base: baseBehind, count }),
    // As in Linux 7.2: each is relative to where it stands itself.
    fromPlace(tables, behind),
    // As in Linux 6.1: both before the names.
    fromBase(image, { offsets: before, base: baseBefore, count }),
  ].find(addresses => addresses !== undefined && ascends(addresses))
}

const ascends = (addresses: readonly bigint[]): boolean =>
  addresses.every((address, i) => i === 0 || address >= addresses[i - 1]!) &&
  addresses.at(-1)! >= LOWEST

interface Relative {
  /** Where the offsets stand in the file. */
  readonly offsets: number
  /** Where the address stands that they are relative to. */
  readonly base: number
  readonly count: number
}

const fromBase = (
  image: Buffer,
  { offsets, base: baseAt, count }: Relative,
): bigint[] | undefined => {
  if (offsets < 0 || baseAt + 8 > image.length) return undefined
  const base = image.readBigUInt64LE(baseAt)
  if (base < LOWEST) return undefined
  const values = int32s(image, offsets, count)
  // CONFIG_KALLSYMS_ABSOLUTE_PERCPU, as in Linux 6.12: offsets are negative,
  // and what is not is an address within the area of a CPU.
  const hasAbsolute = values.some(value => value < 0)
  return values.map(value => {
    if (!hasAbsolute) return base + BigInt(value)
    return value < 0 ? base - 1n - BigInt(value) : BigInt(value)
  })
}

const fromPlace = (
  { image, loaded, names }: Tables,
  offsets: number,
): bigint[] | undefined => {
  const count = names.texts.length
  const holder = loaded.find(
    ({ file }) => offsets >= file.start && offsets + 4 * count <= file.end,
  )
  if (!holder) return undefined
  const start = holder.address + BigInt(offsets - holder.file.start)
  return int32s(image, offsets, count).map(
    (value, i) => start + BigInt(4 * i + value),
  )
}

const int32s = (image: Buffer, at: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => image.readInt32LE(at + 4 * i))
