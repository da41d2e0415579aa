/**
 * Turns the format string of a printk() into a pattern, so that the catalogue
 * can hold exactly what stands in the kernel's source.
 */
const CONVERSIONS: readonly (readonly [RegExp, string])[] = [
  [/^%%/, '%'],
  [/^%0?\d*(?:ll|l|h)?u/, '(\\d+)'],
  [/^%(?:ll|l|h)?d/, '(-?\\d+)'],
  [/^%0?\d*(?:ll|l|h)?x/, '([0-9a-f]+)'],
  // `#` puts 0x before every value but 0.
  [/^%#0?\d*(?:ll|l|h)?x/, '(?:0x)?([0-9a-f]+)'],
  [/^%s/, '(\\S+)'],
]

/** A pattern that matches this text alone. */
export const literally = (text: string): string =>
  text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

/** Arguments of a message become groups, in order. The whole text must match. */
export const patternOf = (format: string): RegExp => {
  let pattern = ''
  let rest = format
  while (rest !== '') {
    const conversion = CONVERSIONS.find(([match]) => match.test(rest))
    if (conversion) {
      pattern += conversion[1]
      rest = rest.replace(conversion[0], '')
    } else if (rest.startsWith('%')) {
      throw new TypeError(`no rule for the conversion at '${rest}'`)
    } else {
      const literal = /^[^%]+/.exec(rest)![0]
      pattern += literally(literal)
      rest = rest.slice(literal.length)
    }
  }
  return new RegExp(`^${pattern}$`)
}
