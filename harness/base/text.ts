/**
 * Text that may come from anywhere, for a terminal or a log: what would move a
 * cursor, end a line or turn the direction of writing is shown and not
 * executed.
 */
export const visible = (text: string): string =>
  text.replaceAll(/(?!\t)[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, character => {
    const code = character.charCodeAt(0).toString(16)
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, '0')}`
  })
