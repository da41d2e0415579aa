/** A word for a POSIX shell. */
export const shellQuote = (word: string): string =>
  /^[\w./:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

export const shellLine = (words: readonly string[]): string =>
  words.map(shellQuote).join(' ')
