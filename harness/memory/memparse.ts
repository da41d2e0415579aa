/** What is left of a text after a number was read from its front. */
export interface Parsed {
  readonly value: bigint
  readonly rest: string
}

/** Suffixes of memparse(), as powers of two (lib/cmdline.c). */
const SHIFTS: Readonly<Record<string, bigint>> = {
  K: 10n,
  M: 20n,
  G: 30n,
  T: 40n,
  P: 50n,
  E: 60n,
}

/**
 * simple_strtoull() with base 0 (lib/vsprintf.c): `0x` is hexadecimal when a
 * hex digit follows, a leading `0` is octal, anything else decimal. Values
 * beyond 64 bits wrap, as they do in the kernel.
 *
 * @returns undefined when the text starts with no digit
 */
export const parseUnsigned = (text: string): Parsed | undefined => {
  const hexadecimal = /^0x([0-9a-f]+)/i.exec(text)
  if (hexadecimal) return numberOf(text, hexadecimal[0], hexadecimal[0])
  const octal = /^0[0-7]*/.exec(text)
  if (octal) return numberOf(text, octal[0], `0o0${octal[0].slice(1)}`)
  const decimal = /^[0-9]+/.exec(text)
  return decimal ? numberOf(text, decimal[0], decimal[0]) : undefined
}

const numberOf = (text: string, digits: string, literal: string): Parsed => ({
  value: BigInt.asUintN(64, BigInt(literal)),
  rest: text.slice(digits.length),
})

/**
 * memparse() (lib/cmdline.c): a number and at most one suffix of K M G T P E,
 * upper or lower case. In `0x1E` the E is a digit, as the kernel reads it.
 *
 * @returns bytes and the rest, or undefined when there is no number
 */
export const memparse = (text: string): Parsed | undefined => {
  const number = parseUnsigned(text)
  if (!number) return undefined
  const shift = SHIFTS[number.rest.charAt(0).toUpperCase()]
  if (shift === undefined) return number
  return {
    value: BigInt.asUintN(64, number.value << shift),
    rest: number.rest.slice(1),
  }
}
