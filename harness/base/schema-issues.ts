import * as z from 'zod'
import {
  type Complaint,
  type DataPath,
  type YamlFile,
  nearest,
} from './yaml-file.ts'

/** Maps a path of the checked data to the path of its value, or its key. */
export type PathMap = (path: DataPath, about: 'value' | 'key') => DataPath

/** What a schema finds wrong, as complaints with places. */
export const complaintsOf = (
  file: YamlFile,
  schema: z.ZodType,
  error: z.ZodError,
  map: PathMap = path => path,
): Complaint[] =>
  error.issues.flatMap(issue => {
    const path = issue.path as DataPath
    if (issue.code !== 'unrecognized_keys')
      return [file.complain(map(path, 'value'), issue.message)]
    const allowed = keysAt(schema, path)
    return issue.keys.map(key =>
      file.complain(
        map([...path, key], 'key'),
        unknownKey(key, allowed),
        'key',
      ),
    )
  })

const unknownKey = (key: string, allowed: readonly string[]): string => {
  const meant = nearest(key, allowed)
  const hint = meant === undefined ? '' : `; did you mean '${meant}'?`
  return `unknown key '${key}'${hint} (allowed: ${allowed.join(', ')})`
}

/** The keys an object schema allows at a path. */
const keysAt = (schema: z.ZodType, path: DataPath): string[] => {
  const here = unwrap(schema)
  const [step, ...rest] = path
  if (here instanceof z.ZodArray) return keysAt(here.element as z.ZodType, rest)
  if (here instanceof z.ZodUnion)
    return (here.options as z.ZodType[]).flatMap(option => keysAt(option, path))
  if (!(here instanceof z.ZodObject)) return []
  if (step === undefined) return Object.keys(here.shape)
  const child = here.shape[step] as z.ZodType | undefined
  return child ? keysAt(child, rest) : []
}

const unwrap = (schema: z.ZodType): z.ZodType => {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault)
    return unwrap(schema.unwrap() as z.ZodType)
  if (schema instanceof z.ZodPipe) return unwrap(schema.in as z.ZodType)
  return schema
}
