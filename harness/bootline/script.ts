/**
 * The words of a script, as a shell and as GRUB take them apart: both know
 * quotes, backslashes, variables and comments, and differ in the details.
 */

/** What one language of scripts does differently from the other. */
export interface Dialect {
  /** Outside of quotes each is a word of its own, and ends a command. */
  readonly operators: string
  /** What a backslash guards within double quotes. */
  readonly guarded: string
  /** A variable behind its `$`, sticky; its name is the first group that is set. */
  readonly variable: RegExp
  /** The output of commands takes the place of `$(...)` and backquotes. */
  readonly hasCommandOutput: boolean
  /** `name=value` as a word takes its variables whole, with their blanks. */
  readonly keepsAssignments: boolean
}

/** POSIX shell (XCU 2.2, 2.3, 2.6). */
export const SHELL: Dialect = {
  operators: '|&;<>()',
  guarded: '$`"\\',
  variable: /([A-Za-z_]\w*)|\{([^}]*)\}|([0-9@*#?$!-])/y,
  hasCommandOutput: true,
  keepsAssignments: true,
}

/**
 * GRUB 2 (grub-core/script/yylex.l). A name of digits is as long as they are,
 * and `$` with anything else behind it is an error.
 */
export const GRUB: Dialect = {
  operators: '{}|&;<>',
  guarded: '$"\\',
  variable: /([A-Za-z_]\w*)|\{([A-Za-z_]\w*|\d+|[?#*@])\}|(\d+|[?#*@])/y,
  hasCommandOutput: false,
  keepsAssignments: false,
}

/** A word after everything in it has been replaced. */
export interface Word {
  readonly text: string
  /** Variables that nothing is known of: nothing stands for them. */
  readonly unset: readonly string[]
}

export interface Command {
  /** Counted from 1. */
  readonly line: number
  readonly words: readonly Word[]
  /** The operator that ended it, or `\n`; empty at the end of the script. */
  readonly end: string
  /** Behind its words, with the `#`; empty: there is none. */
  readonly comment: string
  /** A quote in it is not closed. */
  readonly isOpen: boolean
}

/** What is lost where a shell reads a variable or a command's output. */
export const shellTakes = (name: string): string =>
  `takes ${/^[(`]/.test(name) ? name : `$${name}`} for something of its own, of which nothing is known here`

/** A variable's value; undefined: nobody knows it. */
export type Lookup = (name: string) => string | undefined

/**
 * Takes a script apart, one command after the other, so that whoever reads them
 * can set variables meanwhile. What is not closed ends at the end.
 */
export function* commandsOf(
  script: string,
  dialect: Dialect,
  lookup: Lookup,
): Generator<Command, void> {
  const lexer = new Lexer(script, dialect, lookup)
  for (;;) {
    const command = lexer.command()
    if (command.words.length > 0 || /[{}]/.test(command.end)) yield command
    if (command.end === '') return
  }
}

class Lexer {
  readonly #text: string
  readonly #dialect: Dialect
  readonly #lookup: Lookup
  #at = 0
  #line = 1
  #isOpen = false

  constructor(text: string, dialect: Dialect, lookup: Lookup) {
    this.#text = text
    this.#dialect = dialect
    this.#lookup = lookup
  }

  command(): Command {
    const words: Word[] = []
    let line: number | undefined
    this.#isOpen = false
    for (;;) {
      const comment = this.#skipBlanks()
      const character = this.#text[this.#at] ?? ''
      const start = line ?? this.#line
      const ended = { line: start, words, end: character, comment }
      if (
        character === '' ||
        character === '\n' ||
        this.#dialect.operators.includes(character)
      ) {
        this.#take(character.length)
        return { ...ended, isOpen: this.#isOpen }
      }
      line = start
      words.push(...new WordReader(this).read())
    }
  }

  /** @returns the comment that was among them, or nothing */
  #skipBlanks(): string {
    let comment = ''
    for (;;) {
      const found = /[ \t\r]+|\\\r?\n|#[^\n]*/y
      found.lastIndex = this.#at
      const [blank = ''] = found.exec(this.#text) ?? []
      if (blank === '') return comment
      if (blank.startsWith('#')) comment = blank
      this.#take(blank.length)
    }
  }

  #take(length: number): string {
    const taken = this.#text.slice(this.#at, this.#at + length)
    this.#at += length
    this.#line += taken.split('\n').length - 1
    return taken
  }

  /** The next character, which is taken; empty at the end. */
  next(): string {
    return this.#take(1)
  }

  peek(): string {
    return this.#text[this.#at] ?? ''
  }

  takeTo(end: string): string {
    const at = this.#text.indexOf(end, this.#at)
    if (at < 0) this.open()
    const text = this.#take((at < 0 ? this.#text.length : at) - this.#at)
    this.#take(end.length)
    return text
  }

  /** Something is not closed. */
  open(): void {
    this.#isOpen = true
  }

  /** What stands for a variable, its `$` taken. */
  variable(): { readonly name: string; readonly value: string | undefined } {
    const { variable, hasCommandOutput } = this.#dialect
    if (hasCommandOutput && this.peek() === '(') {
      this.next()
      return { name: `(${this.takeTo(')')})`, value: undefined }
    }
    variable.lastIndex = this.#at
    const found = variable.exec(this.#text)
    if (!found) return { name: '', value: '$' }
    this.#take(found[0].length)
    const name = found.slice(1).find(Boolean) ?? ''
    return { name, value: this.#lookup(name) }
  }

  get dialect(): Dialect {
    return this.#dialect
  }
}

/** Reads one word, which variables with blanks can make several of. */
class WordReader {
  readonly #lexer: Lexer
  readonly #words: Word[] = []
  #text: string | undefined
  #unset: string[] = []

  constructor(lexer: Lexer) {
    this.#lexer = lexer
  }

  read(): Word[] {
    const { dialect } = this.#lexer
    for (;;) {
      const character = this.#lexer.peek()
      if (
        character === '' ||
        /[ \t\r\n]/.test(character) ||
        dialect.operators.includes(character)
      ) {
        this.#end()
        return this.#words
      }
      this.#lexer.next()
      this.#outside(character)
    }
  }

  #outside(character: string): void {
    const { hasCommandOutput } = this.#lexer.dialect
    if (character === '\\') {
      const guarded = this.#lexer.next()
      if (guarded !== '\n') this.#add(guarded === '' ? '\\' : guarded)
    } else if (character === "'") this.#add(this.#lexer.takeTo("'"))
    else if (character === '"') this.#quoted()
    else if (character === '$') this.#variable(false)
    else if (character === '`' && hasCommandOutput) this.#output()
    else this.#add(character)
  }

  #quoted(): void {
    this.#add('')
    const { guarded, hasCommandOutput } = this.#lexer.dialect
    for (;;) {
      const character = this.#lexer.next()
      if (character === '') this.#lexer.open()
      if (character === '' || character === '"') return
      if (character === '$') this.#variable(true)
      else if (character === '`' && hasCommandOutput) this.#output()
      else if (character !== '\\') this.#add(character)
      else {
        const next = this.#lexer.peek()
        if (next === '\n') this.#lexer.next()
        else if (next !== '' && guarded.includes(next))
          this.#add(this.#lexer.next())
        else this.#add('\\')
      }
    }
  }

  #output(): void {
    this.#unset.push(`\`${this.#lexer.takeTo('`')}\``)
  }

  #variable(isQuoted: boolean): void {
    const { name, value } = this.#lexer.variable()
    if (value === undefined) this.#unset.push(name)
    else if (isQuoted || this.#isAssignment()) this.#add(value)
    else this.#split(value)
  }

  #isAssignment(): boolean {
    return (
      this.#lexer.dialect.keepsAssignments &&
      this.#words.length === 0 &&
      /^\w+=/.test(this.#text ?? '')
    )
  }

  /** Blanks in an unquoted variable separate words. */
  #split(value: string): void {
    for (const [i, part] of value.split(/[ \t\n]+/).entries()) {
      if (i > 0) this.#end()
      if (part !== '') this.#add(part)
    }
  }

  #add(text: string): void {
    this.#text = (this.#text ?? '') + text
  }

  /** A word of nothing but variables that are not set is none. */
  #end(): void {
    if (this.#text !== undefined || this.#unset.length > 0)
      this.#words.push({ text: this.#text ?? '', unset: this.#unset })
    this.#text = undefined
    this.#unset = []
  }
}
