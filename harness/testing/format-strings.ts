/** A printk() of a C source. */
export interface FormatString {
  /** From 1. */
  readonly line: number
  /** What pr_fmt() puts before it. */
  readonly prefix: string
  /** Without its last line feed. */
  readonly format: string
}

/** Levels that are printed without being asked for: not pr_debug(). */
const CALL =
  /\b(?:pr_(?:emerg|alert|crit|err|warn|notice|info|cont)(?:_once|_ratelimited)?\s*\(|printk(?:_once)?\s*\(\s*KERN_\w+)\s*/g
const LITERAL = /^"((?:[^"\\]|\\.)*)"\s*/
const PR_FMT = /^#define\s+pr_fmt\(\w+\)\s+"((?:[^"\\]|\\.)*)"\s*\w+/m

/** Comments become blanks: places stay the same. */
const withoutComments = (source: string): string =>
  source.replaceAll(/"(?:[^"\\\n]|\\.)*"|\/\*[^]*?\*\/|\/\/[^\n]*/g, text =>
    text.startsWith('"') ? text : text.replaceAll(/[^\n]/g, ' '),
  )

const unescape = (text: string): string =>
  text.replaceAll(/\\(.)/g, (_, char: string) =>
    char === 'n' ? '\n' : char === 't' ? '\t' : char,
  )

/** With the text of a macro in place of its name, where one stands. */
const expanded = (rest: string, code: string): string => {
  const name = /^\s*([A-Z]\w*)\b/.exec(rest)?.[1]
  const text =
    name && new RegExp(`#define\\s+${name}\\b((?:.*\\\\\n)*.*)`).exec(code)?.[1]
  return text ? text.replaceAll('\\\n', '').trimStart() : rest
}

/**
 * The format strings of all pr_*() in a source file. Neighbouring literals are
 * one string.
 *
 * @throws Error for a call whose format is no string literal
 */
export const formatStrings = (source: string): FormatString[] => {
  const code = withoutComments(source)
  const prefix = unescape(PR_FMT.exec(code)?.[1] ?? '')
  return [...code.matchAll(CALL)].map(call => {
    const line = code.slice(0, call.index).split('\n').length
    let rest = expanded(code.slice(call.index + call[0].length), code)
    let format = ''
    let literals = 0
    for (
      let literal = LITERAL.exec(rest);
      literal;
      literal = LITERAL.exec(rest)
    ) {
      format += literal[1]!
      rest = rest.slice(literal[0].length)
      literals++
    }
    if (literals === 0)
      throw new Error(`line ${line}: the format is no string literal`)
    return { line, prefix, format: unescape(format).replace(/\n$/, '') }
  })
}
