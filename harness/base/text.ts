/**
 * Text that may come from anywhere, for a terminal or a log: what would move a
 * cursor, end a line or turn the direction of writing is shown and not
 * executed.
 */
export const visible = (text: string): string =>
  text.replaceAll(MOVES, character => {
    const code = hexOf(character)
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`
  })

/**
 * The same inside a quoted string of JSON or YAML, whose escapes know four
 * digits and no braces: what reads it gets the text back as it was.
 */
export const visibleQuoted = (json: string): string =>
  json.replaceAll(MOVES, character => `\\u${hexOf(character).padStart(4, '0')}`)

// None of them lies beyond the first 65,536: four digits are enough.
const MOVES = /(?!\t)[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu

const hexOf = (character: string): string =>
  character.charCodeAt(0).toString(16)
