import { Document, isMap, isScalar, visit } from 'yaml'
import { visible } from '../base/text.ts'
import { type CellInput, cellSchema } from './schema.ts'

/** Words on a line of a comment. */
const WIDTH = 76

/**
 * A cell as a scenario file, in the order in which a person reads it.
 *
 * @param comments what is to be known about it, a paragraph each
 */
export const scenarioFile = (
  input: CellInput,
  comments: readonly string[] = [],
): string => {
  const document = new Document(ordered(withoutEmpty(input)), {
    aliasDuplicateObjects: false,
  })
  visit(document, {
    Pair: (_, { key, value }) => {
      if (!isScalar(key) || !isScalar(value)) return
      if (!ADDRESSES.has(String(key.value)) || !isAddress(value.value)) return
      value.value = Number(value.value)
      value.format = 'HEX'
    },
    // A table is read line by line.
    Seq: (_, { items }) => {
      for (const item of items) if (isMap(item)) item.flow = true
    },
  })
  if (comments.length > 0)
    document.commentBefore = comments.flatMap(paragraph).join('\n')
  return document.toString({ lineWidth: 80, flowCollectionPadding: true })
}

/** Keys whose values may be numbers; a status needs its quotes. */
const ADDRESSES: ReadonlySet<string> = new Set(['start', 'end', 'memory'])

/** What YAML reads as a number, and so needs no quotes. */
const isAddress = (value: unknown): boolean =>
  typeof value === 'string' &&
  /^0x[0-9a-f]+$/.test(value) &&
  Number.isSafeInteger(Number(value))

/** Keys in the order of the schema; those it does not know come last. */
const ordered = (input: object): object => {
  const known = Object.keys(cellSchema.shape)
  const keys = [...known, ...Object.keys(input).filter(k => !known.includes(k))]
  const values = input as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    keys.flatMap(key =>
      values[key] === undefined ? [] : [[key, values[key]]],
    ),
  )
}

/** Without what says nothing: keys without a value, and empty parts. */
const withoutEmpty = (input: CellInput): object =>
  Object.fromEntries(
    Object.entries(input).flatMap(([key, value]): [string, unknown][] => {
      if (!isPart(value)) return [[key, value]]
      const kept = Object.entries(value).filter(
        ([, one]) => one !== undefined && !isEmptyList(key, one),
      )
      return kept.length > 0 ? [[key, Object.fromEntries(kept)]] : []
    }),
  )

const isPart = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An empty list of parameters is the default, and others say something. */
const isEmptyList = (part: string, value: unknown): boolean =>
  part === 'cmdline' && Array.isArray(value) && value.length === 0

/** Broken into lines, each with a blank before it. */
const paragraph = (text: string): string[] => {
  const lines = ['']
  for (const word of visible(text).split(/\s+/)) {
    const last = lines.at(-1)!
    if (last !== '' && last.length + word.length >= WIDTH) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.map((line, i) => (i === 0 ? ` ${line}` : `   ${line}`))
}
