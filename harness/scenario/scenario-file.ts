import { Document, isMap, isScalar, visit } from 'yaml'
import { visible } from '../base/text.ts'
import type { CellInput } from './schema.ts'

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
  const document = new Document(
    {
      name: input.name,
      why: input.why,
      ...(input.kernels && { kernels: input.kernels }),
      machine: input.machine,
      ...(input.tdx && hasAny(input.tdx) && { tdx: input.tdx }),
      ...withoutEmpty(input.cmdline),
      ...(input.steps && { steps: input.steps }),
      ...(input.expect && { expect: input.expect }),
    },
    { aliasDuplicateObjects: false },
  )
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

const hasAny = (value: object): boolean =>
  Object.values(value).some(one => one !== undefined)

const withoutEmpty = (
  cmdline: CellInput['cmdline'] = {},
): { cmdline?: object } => {
  const entries = Object.entries(cmdline).filter(
    ([, value]) => value !== undefined && value.length > 0,
  )
  return entries.length > 0 ? { cmdline: Object.fromEntries(entries) } : {}
}

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
