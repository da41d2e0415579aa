import { SIGNS } from './lines.ts'

/**
 * What mail programs, pages and editors make of the characters of a log. All
 * patterns are of the bytes of UTF-8: see {@link TakeLine}.
 */

/** U+00A0 alone, as in a file of Latin-1; else it is a part of a character. */
const LATIN1_BLANK = /(?<![\u0080-\u00ff])\u00a0/g

interface Replacement {
  readonly of: RegExp
  readonly by: string
}

const REPLACEMENTS: readonly Replacement[] = [
  // U+00A0, also as UTF-8 that was taken for Latin-1 and encoded again.
  { of: /\u00c2\u00a0|\u00c3\u0082\u00c2\u00a0/g, by: ' ' },
  // U+2000 to U+200A, U+202F, U+205F, U+3000: other blanks.
  {
    of: /\u00e2\u0080[\u0080-\u008a\u00af]|\u00e2\u0081\u009f|\u00e3\u0080\u0080/g,
    by: ' ',
  },
  // U+200B to U+200F, U+202A to U+202E, U+2060 to U+2069, U+FEFF, U+00AD:
  // they have no width.
  {
    of: /\u00e2\u0080[\u008b-\u008f\u00aa-\u00ae]|\u00e2\u0081[\u00a0-\u00a9]|\u00ef\u00bb\u00bf|\u00c2\u00ad/g,
    by: '',
  },
  // Typography: U+2010 to U+2015 and U+2212, U+2018 and U+2019, U+201C and
  // U+201D, U+2026, U+00D7 (as pages write 0x0).
  { of: /\u00e2\u0080[\u0090-\u0095]|\u00e2\u0088\u0092/g, by: '-' },
  { of: /\u00e2\u0080[\u0098\u0099]/g, by: "'" },
  { of: /\u00e2\u0080[\u009c\u009d]/g, by: '"' },
  { of: /\u00e2\u0080\u00a6/g, by: '...' },
  { of: /(?<=0)\u00c3\u0097(?=[\da-f])/gi, by: 'x' },
  { of: LATIN1_BLANK, by: ' ' },
]

const ENTITY = /&(?:(lt|gt|amp|quot|apos|nbsp)|#(\d{1,5})|#x([\da-f]{1,4}));/gi

const NAMED: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  amp: '&',
  quot: '"',
  apos: "'",
  nbsp: ' ',
}

const withoutEntities = (text: string): string =>
  text.replace(
    ENTITY,
    (whole, name?: string, decimal?: string, hexadecimal?: string) => {
      if (name !== undefined) return NAMED[name.toLowerCase()] ?? whole
      const code =
        decimal === undefined ? parseInt(hexadecimal!, 16) : Number(decimal)
      return Buffer.from(String.fromCharCode(code)).toString('latin1')
    },
  )

/** What pages put around lines; `<TASK>` and `<6>` are the kernel's. */
const BLOCK = /<\/?(?:p|br|div|li|tr|pre)(?: [^>]*)?\/?>/i
const TAG =
  /<\/?(?:p|br|div|li|tr|td|pre|span|code|a|b|i|em|strong|font|tt|samp|wbr|blockquote|mark)(?: [^>]*)?\/?>/gi

/** Kernels write neither: it was encoded to be shown on a page. */
const MARKUP = new RegExp(`${ENTITY.source}|${TAG.source}`, 'i')

/** A line as it was before it was pasted; a page may have several in one. */
export const asPosted = (raw: string, signs: number): string[] => {
  let text = raw
  if ((signs & SIGNS.wide) !== 0)
    for (const { of, by } of REPLACEMENTS) text = text.replace(of, by)
  if ((signs & SIGNS.markup) === 0 || !MARKUP.test(text)) return [text]
  return text.split(BLOCK).map(part => {
    const once = withoutEntities(part.replace(TAG, ''))
    // Of a page that was encoded twice.
    return withoutEntities(once)
  })
}
