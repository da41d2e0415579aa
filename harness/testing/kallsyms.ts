import type { KernelSymbol } from '../kernel/symbols.ts'

/** A symbol as it goes into kallsyms. */
export interface NamedAddress extends Pick<KernelSymbol, 'name' | 'address'> {
  readonly type: string
}

/** How a kernel writes its kallsyms (scripts/kallsyms.c of that version). */
export interface KallsymsForm {
  readonly align: 4 | 8
  /** Where addresses are: before the names, or behind the tokens. */
  readonly addresses: 'before' | 'behind' | 'relative to themselves'
  /** CONFIG_KALLSYMS_ABSOLUTE_PERCPU. */
  readonly absolutePercpu?: boolean
  /** Numbers of three bytes stand before the tokens (kallsyms_seqs_of_names). */
  readonly numbersBefore?: boolean
}

export const KALLSYMS_FORMS = {
  '6.1': { align: 8, addresses: 'before', absolutePercpu: true },
  'the stable 6.1': {
    align: 8,
    addresses: 'before',
    absolutePercpu: true,
    numbersBefore: true,
  },
  '6.12': { align: 8, addresses: 'behind', absolutePercpu: true },
  'no absolute addresses': { align: 8, addresses: 'behind' },
  '7.3': { align: 4, addresses: 'relative to themselves' },
} as const satisfies Record<string, KallsymsForm>

/** Where the bytes are loaded. */
export const KALLSYMS_ADDRESS = 0xffffffff81000000n

/** Pairs of letters that get a code of their own, as a compression would. */
const PAIRS = ['sy', 'ms', '__', 'ab', 'tt', 'td']

/**
 * What the kernel's build makes of symbols, written down anew from what
 * scripts/kallsyms.c prints.
 *
 * @param symbols in order of their addresses
 */
export const encodeKallsyms = (
  symbols: readonly NamedAddress[],
  {
    align,
    addresses,
    absolutePercpu = false,
    numbersBefore = false,
  }: KallsymsForm,
): Buffer => {
  const parts: Buffer[] = []
  let length = 0
  const add = (bytes: Buffer): number => {
    const at = Math.ceil(length / align) * align
    parts.push(Buffer.alloc(at - length), bytes)
    length = at + bytes.length
    return at
  }
  const base = symbols.find(({ address }) => address >= KALLSYMS_ADDRESS)!
  const offsets = (at: number): Buffer =>
    int32s(
      symbols.map(({ address }, i) => {
        if (addresses === 'relative to themselves')
          return address - KALLSYMS_ADDRESS - BigInt(at + 4 * i)
        if (!absolutePercpu) return address - base.address
        return address < KALLSYMS_ADDRESS
          ? address
          : base.address - 1n - address
      }),
    )
  const relativeBase = Buffer.alloc(8)
  relativeBase.writeBigUInt64LE(base.address)
  // Something that is none of it comes first.
  add(Buffer.alloc(64, 0xa5))
  if (addresses === 'before') {
    add(offsets(0))
    add(relativeBase)
  }
  add(int32s([BigInt(symbols.length)]))
  const tokens = tokensFor(symbols)
  const names = symbols.map(({ type, name }) => encodeName(type + name, tokens))
  add(Buffer.concat(names))
  let at = 0
  const marks = names.map(({ length: size }) => (at += size) - size)
  add(int32s(marks.filter((_, i) => i % 256 === 0).map(BigInt)))
  // None of them is a NUL here: nothing shows where the tokens begin.
  if (numbersBefore) add(Buffer.alloc(3 * symbols.length, 0x11))
  add(Buffer.from(tokens.map(text => `${text}\0`).join(''), 'latin1'))
  const index = Buffer.alloc(2 * tokens.length)
  let end = 0
  for (const [i, text] of tokens.entries()) {
    index.writeUInt16LE(end, 2 * i)
    end += text.length + 1
  }
  add(index)
  if (addresses !== 'before') {
    const at = Math.ceil(length / align) * align
    add(offsets(at))
    if (addresses === 'behind') add(relativeBase)
    add(Buffer.alloc(3 * symbols.length))
  }
  return Buffer.concat(parts)
}

/** What each code stands for. */
const tokensFor = (symbols: readonly NamedAddress[]): string[] => {
  const used = new Set(
    symbols.flatMap(({ type, name }) => Array.from(`${type}${name}0123456789`)),
  )
  const pairs = [...PAIRS]
  return Array.from({ length: 256 }, (_, code) => {
    const char = String.fromCharCode(code)
    return used.has(char) ? char : (pairs.shift() ?? '')
  })
}

const encodeName = (text: string, tokens: readonly string[]): Buffer => {
  const codes: number[] = []
  for (let at = 0; at < text.length;) {
    const pair = tokens.indexOf(text.slice(at, at + 2))
    const isPair = pair >= 0 && tokens[pair]!.length === 2
    codes.push(isPair ? pair : text.charCodeAt(at))
    at += isPair ? 2 : 1
  }
  const length =
    codes.length < 0x80
      ? [codes.length]
      : [(codes.length & 0x7f) | 0x80, codes.length >> 7]
  return Buffer.from([...length, ...codes])
}

const int32s = (values: readonly bigint[]): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries())
    bytes.writeInt32LE(Number(BigInt.asIntN(32, value)), 4 * i)
  return bytes
}

/** An ELF64 file for x86-64 that loads these bytes, without any section. */
export const strippedElf = (bytes: Buffer): Buffer => {
  const start = 0x1000
  const header = Buffer.alloc(start)
  header.write('\x7fELF\x02\x01\x01', 'latin1')
  header.writeUInt16LE(2, 16)
  header.writeUInt16LE(62, 18)
  header.writeUInt32LE(1, 20)
  header.writeBigUInt64LE(64n, 32)
  header.writeUInt16LE(64, 52)
  header.writeUInt16LE(56, 54)
  header.writeUInt16LE(1, 56)
  header.writeUInt32LE(1, 64)
  header.writeBigUInt64LE(BigInt(start), 64 + 8)
  header.writeBigUInt64LE(KALLSYMS_ADDRESS, 64 + 16)
  header.writeBigUInt64LE(BigInt(bytes.length), 64 + 32)
  header.writeBigUInt64LE(BigInt(bytes.length), 64 + 40)
  return Buffer.concat([header, bytes])
}
