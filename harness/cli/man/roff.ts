import { visible } from '../../base/text.ts'

/**
 * Pages in roff, with the macros of man(7). All text goes through
 * {@link roffText}: whatever it holds, none of it controls the formatter.
 */

/** What roff reads as something else, and how it is written as it is. */
const ESCAPES: Readonly<Partial<Record<string, string>>> = {
  '\\': '\\(rs',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
  '"': '\\(dq',
}

/** A text on one line, which is safe at its start and as an argument. */
export const roffText = (text: string): string => {
  const line = visible(text.replaceAll(/\s+/g, ' ').trim())
  const escaped = line.replaceAll(
    /[\\\-'`^~"]|[^ -~]/gu,
    character =>
      ESCAPES[character] ??
      `\\[u${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}]`,
  )
  return escaped.startsWith('.') ? `\\&${escaped}` : escaped
}

/** Lines of roff are short: it fills them anew. */
const WIDTH = 78

/** The same for running text, on lines of its own. */
export const prose = (text: string): string => {
  const lines: string[] = []
  for (const word of roffText(text).split(' ')) {
    const line = lines.at(-1)
    if (line !== undefined && line.length + 1 + word.length <= WIDTH)
      lines[lines.length - 1] = `${line} ${word}`
    // What a line begins with may be a request.
    else lines.push(/^\./.test(word) ? `\\&${word}` : word)
  }
  return lines.join('\n')
}

export const bold = (text: string): string => `\\fB${roffText(text)}\\fR`

export const italic = (text: string): string => `\\fI${roffText(text)}\\fR`

export const section = (title: string): string => `.SH "${roffText(title)}"`

export const subsection = (title: string): string => `.SS "${roffText(title)}"`

/** @param term what went through {@link roffText} */
export const item = (term: string, text: string): string =>
  `.TP\n${term}\n${prose(text)}`

/** Commands as they are typed, and not filled. */
export const example = (lines: readonly string[]): string =>
  ['.PP', '.RS', '.nf', ...lines.map(bold), '.fi', '.RE'].join('\n')
