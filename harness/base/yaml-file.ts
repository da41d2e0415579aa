import { distance } from 'fastest-levenshtein'
import {
  type Document,
  LineCounter,
  type Node,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  parseDocument,
} from 'yaml'
import { UsageError, messageOf } from './errors.ts'
import { visible } from './text.ts'

/** Where something stands in a file, both from 1. */
export interface Place {
  readonly line: number
  readonly column: number
  /** Characters the caret line underlines. */
  readonly width: number
}

/** A path into the data: keys and indexes. */
export type DataPath = readonly (string | number)[]

/** Something wrong with a file, with what would be right. */
export interface Complaint {
  readonly path: string
  readonly place: Place
  readonly message: string
  /** The text of that line. */
  readonly source: string
}

/** A YAML file that could be read, and a way back from data to places. */
export class YamlFile {
  readonly path: string
  readonly data: unknown
  readonly #document: Document
  readonly #lines: LineCounter
  readonly #text: readonly string[]

  private constructor(
    path: string,
    text: string,
    document: Document,
    lines: LineCounter,
  ) {
    this.path = path
    this.#document = document
    this.#lines = lines
    this.#text = text.split(/\r?\n/)
    // Limits aliases, so that a small file cannot become gigabytes.
    this.data = document.toJS({ maxAliasCount: 100 })
  }

  static parse(path: string, text: string): YamlFile | Complaint[] {
    const lines = new LineCounter()
    const document = parseDocument(text, { lineCounter: lines })
    const source = text.split(/\r?\n/)
    const complaint = (
      message: string,
      from: number,
      to: number,
    ): Complaint => {
      const { line, col } = lines.linePos(from)
      return {
        path,
        place: { line, column: col, width: Math.max(1, to - from) },
        message,
        source: source[line - 1] ?? '',
      }
    }
    if (document.errors.length > 0)
      return document.errors.map(error =>
        complaint(error.message.split(/ at line |\n/)[0]!, ...error.pos),
      )
    try {
      return new YamlFile(path, text, document, lines)
    } catch (error) {
      return [complaint(messageOf(error), 0, 0)]
    }
  }

  /** A complaint about the value at a path, or about its key. */
  complain(
    at: DataPath,
    message: string,
    about: 'value' | 'key' = 'value',
  ): Complaint {
    const place = this.#placeOf(at, about)
    return {
      path: this.path,
      place,
      message,
      source: this.#text[place.line - 1] ?? '',
    }
  }

  #placeOf(at: DataPath, about: 'value' | 'key'): Place {
    for (let length = at.length; length >= 0; length--) {
      const node = this.#nodeAt(at.slice(0, length), about)
      if (node?.range) return this.#rangeOf(node.range[0], node.range[1])
    }
    return { line: 1, column: 1, width: 1 }
  }

  #rangeOf(from: number, to: number): Place {
    const { line, col } = this.#lines.linePos(from)
    const end = this.#lines.linePos(to)
    const width = end.line === line ? end.col - col : 1
    return { line, column: col, width: Math.max(1, width) }
  }

  #nodeAt(at: DataPath, about: 'value' | 'key'): Node | undefined {
    let node: unknown = this.#document.contents
    for (const [depth, step] of at.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document)
      if (isMap(node)) {
        const pair = node.items.find(
          item => isPair(item) && isScalar(item.key) && item.key.value === step,
        )
        if (!pair) return undefined
        const last = depth === at.length - 1
        node = last && about === 'key' ? pair.key : (pair.value ?? pair.key)
      } else if (isSeq(node)) {
        node = node.items[Number(step)]
      } else return undefined
    }
    return isNode(node) ? node : undefined
  }
}

/** Characters of a source line that are shown. */
const MAX_SOURCE = 160

/** `file:3:5: message`, the line and a caret under the place. */
const formatComplaint = (complaint: Complaint): string => {
  const { path, place, message } = complaint
  const source = complaint.source.slice(0, MAX_SOURCE)
  const number = String(place.line)
  const indent = ' '.repeat(Math.min(place.column, MAX_SOURCE) - 1)
  const width = Math.max(
    1,
    Math.min(place.width, source.length - place.column + 1),
  )
  return [
    `${path}:${place.line}:${place.column}: ${message}`,
    `  ${number} | ${source}`,
    `  ${' '.repeat(number.length)} | ${indent}${'^'.repeat(width)}`,
  ]
    .map(visible)
    .join('\n')
}

/** One error for all complaints: nothing is done when any file is wrong. */
export const complaintsError = (complaints: readonly Complaint[]): UsageError =>
  new UsageError(
    'INVALID_FILE',
    [...complaints]
      .sort(
        (a, b) =>
          a.path.localeCompare(b.path) ||
          a.place.line - b.place.line ||
          a.place.column - b.place.column,
      )
      .map(formatComplaint)
      .join('\n\n'),
  )

/** The most similar word, if it is similar enough to be meant. */
export const nearest = (
  word: string,
  words: readonly string[],
): string | undefined => {
  const [best] = words
    .map(candidate => ({ candidate, distance: distance(word, candidate) }))
    .sort((a, b) => a.distance - b.distance)
  return best && best.distance <= Math.max(2, word.length / 3)
    ? best.candidate
    : undefined
}
