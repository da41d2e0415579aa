/**
 * Text that may come from anywhere, for a terminal or a log: control characters
 * are shown and not executed.
 */
export const visible = (text: string): string =>
  text.replaceAll(
    /(?!\t)\p{Cc}/gu,
    character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
