/**
 * Text that may come from anywhere, for a terminal or a log: control characters
 * are shown and not executed.
 */
export const visible = (text: string): string =>
  text.replaceAll(
    // eslint-disable-next-line no-control-regex -- that is what is replaced
    /[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g,
    character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
