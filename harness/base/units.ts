export const KIB = 2 ** 10
export const MIB = 2 ** 20
export const GIB = 2 ** 30
export const TIB = 2 ** 40
export const PAGE_SIZE = 4 * KIB

/** One past the highest physical address an x86-64 CPU can have (52 bits). */
export const PHYSICAL_LIMIT = 2 ** 52

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  K: KIB,
  M: MIB,
  G: GIB,
  T: TIB,
}

/**
 * A size or an address as people write it: `512M`, `6G`, `1536K`,
 * `0x140000000`, `4096`. Decimal or hexadecimal, K/M/G/T are powers of 1024.
 *
 * @returns bytes, or undefined when the text is no size or exceeds 52 bits
 */
export const parseSize = (text: string): number | undefined => {
  const match = /^(0x[0-9a-f]+|[0-9]+)([KMGT]?)(?:i?B)?$/i.exec(text.trim())
  if (!match) return undefined
  const value = Number(match[1]) * (SUFFIXES[match[2]!.toUpperCase()] ?? NaN)
  return Number.isSafeInteger(value) && value <= PHYSICAL_LIMIT
    ? value
    : undefined
}

/** Bytes in the largest unit that leaves no remainder: `1536M`, `6G`, `100`. */
export const formatSize = (bytes: number): string => {
  for (const [suffix, unit] of Object.entries(SUFFIXES).reverse()) {
    if (bytes >= unit && bytes % unit === 0) return `${bytes / unit}${suffix}`
  }
  return String(bytes)
}

/** An address or a 64-bit value as `0x...`, without padding. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`

export const alignDown = (value: number, step: number): number =>
  Math.floor(value / step) * step

export const alignUp = (value: number, step: number): number =>
  Math.ceil(value / step) * step

/** `2G`, `4K`, `0x12345`: short where it can be, and what the kernel reads. */
export const sizeText = (bytes: number): string => {
  for (const [suffix, unit] of [
    ['G', GIB],
    ['M', MIB],
    ['K', KIB],
  ] as const)
    if (bytes > 0 && bytes % unit === 0 && bytes / unit < 10_000)
      return `${bytes / unit}${suffix}`
  return hex(bytes)
}
