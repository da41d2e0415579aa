import { inspect } from 'node:util'
import * as z from 'zod'
import { visible } from './text.ts'
import {
  type Complaint,
  type DataPath,
  type YamlFile,
  nearest,
} from './yaml-file.ts'

/** Maps a path of the checked data to the path of its value, or its key. */
export type PathMap = (path: DataPath, about: 'value' | 'key') => DataPath

/**
 * What is expected and what was found, for checks that have no text of their
 * own: given to a schema's parse as `{ error }`.
 */
export const issueText = (issue: z.core.$ZodRawIssue): string | undefined => {
  const expected = expectedText(issue)
  return expected && `expected ${expected}, found ${foundText(issue.input)}`
}

const expectedText = (issue: z.core.$ZodRawIssue): string | undefined => {
  if (issue.code === 'too_small')
    return `at least ${issue.minimum}${unitOf(issue.origin)}`
  if (issue.code === 'too_big')
    return `at most ${issue.maximum}${unitOf(issue.origin)}`
  if (issue.code === 'invalid_value')
    return `one of ${issue.values.map(String).join(', ')}`
  if (issue.code === 'invalid_type')
    return TYPE_NAMES[issue.expected] ?? issue.expected
  return undefined
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  array: 'a list',
  object: 'keys with values',
}

const UNITS: Readonly<Record<string, string>> = {
  array: ' entries',
  string: ' characters',
}

const unitOf = (origin: string): string => UNITS[origin] ?? ''

const MAX_FOUND = 60

const foundText = (value: unknown): string => {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'keys with values'
  const text = typeof value === 'string' ? `'${value}'` : inspect(value)
  return visible(
    text.length > MAX_FOUND ? `${text.slice(0, MAX_FOUND)}...` : text,
  )
}

/** A check that failed, and how to get from data to file. */
export interface Failed {
  readonly file: YamlFile
  readonly schema: z.ZodType
  readonly error: z.ZodError
  /** What was checked. */
  readonly data: unknown
  readonly map?: PathMap
  /** Keys of the top level that another schema takes care of. */
  readonly alsoAllowed?: readonly string[]
}

/** What a schema finds wrong, as complaints with places. */
export const complaintsOf = ({
  file,
  schema,
  error,
  data,
  map = path => path,
  alsoAllowed = [],
}: Failed): Complaint[] =>
  error.issues.flatMap(insideUnion).flatMap(issue => {
    const path = issue.path as DataPath
    if (issue.code !== 'unrecognized_keys') {
      const message = isMissing(data, path)
        ? `'${String(path.at(-1))}' is missing: ${issue.message}`
        : issue.message
      return [file.complain(map(path, 'value'), message)]
    }
    const allowed = [
      ...keysAt(schema, path),
      ...(path.length === 0 ? alsoAllowed : []),
    ]
    return issue.keys.map(key =>
      file.complain(
        map([...path, key], 'key'),
        unknownKey(key, allowed),
        'key',
      ),
    )
  })

/**
 * A value that is none of several things is often meant to be one of them: the
 * one in which something is wrong inside, and not the thing as a whole.
 */
const insideUnion = (issue: z.core.$ZodIssue): z.core.$ZodIssue[] => {
  if (issue.code !== 'invalid_union') return [issue]
  const meant = issue.errors.filter(
    issues =>
      issues.length > 0 &&
      // Our own checks come after those of the kind of value.
      issues.every(({ path, code }) => path.length > 0 || code === 'custom'),
  )
  const [only] = meant
  return only && meant.length === 1
    ? only.flatMap(inner =>
        insideUnion({ ...inner, path: [...issue.path, ...inner.path] }),
      )
    : [issue]
}

/** A key that is not there, as opposed to one with a wrong value. */
const isMissing = (data: unknown, path: DataPath): boolean => {
  let value = data
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return false
    value = (value as Record<string | number, unknown>)[step]
  }
  return path.length > 0 && value === undefined
}

const unknownKey = (key: string, allowed: readonly string[]): string => {
  // Of several kinds of entry another one has it.
  if (allowed.includes(key))
    return `'${key}' does not go together with the other keys here`
  const meant = nearest(key, allowed)
  const hint = meant === undefined ? '' : `; did you mean '${meant}'?`
  return `unknown key '${key}'${hint} (allowed: ${[...new Set(allowed)].join(', ')})`
}

/** The keys an object schema allows at a path. */
const keysAt = (schema: z.ZodType, path: DataPath): string[] => {
  const here = unwrap(schema)
  const [step, ...rest] = path
  if (here instanceof z.ZodArray) return keysAt(here.element as z.ZodType, rest)
  if (here instanceof z.ZodUnion)
    return (here.options as z.ZodType[]).flatMap(option => keysAt(option, path))
  if (here instanceof z.ZodRecord) {
    const { options = [] } = here.keyType as Partial<z.ZodEnum>
    return step === undefined
      ? options.map(String)
      : keysAt(here.valueType as z.ZodType, rest)
  }
  if (!(here instanceof z.ZodObject)) return []
  if (step === undefined) return Object.keys(here.shape)
  const child = here.shape[step] as z.ZodType | undefined
  return child ? keysAt(child, rest) : []
}

const unwrap = (schema: z.ZodType): z.ZodType => {
  if (
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault
  )
    return unwrap(schema.unwrap() as z.ZodType)
  if (schema instanceof z.ZodPipe) return unwrap(schema.in as z.ZodType)
  return schema
}
